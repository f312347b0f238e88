answer = next(t for t in np.arange(0.99, 0, -0.01) if at(t)["whole set"] >= 0.96)

checks.ex_04_3(answer, at)
