answer = max(KINDS, key=worth)

checks.ex_06_3(answer, worth)
