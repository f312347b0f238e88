enough = next(right for right in range(17) if wilson(right, 16)[0] > 0.5)

checks.ex_08_3(enough)
