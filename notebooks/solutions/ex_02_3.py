answer = "handwritten"

checks.ex_02_3(answer)
