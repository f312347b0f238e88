answer = max(KINDS, key=harm)

checks.ex_06_3(answer, harm)
