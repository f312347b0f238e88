def probability(z, w):
    odds = np.exp(z) / w
    return odds / (1 + odds)


checks.ex_04_2(probability)
