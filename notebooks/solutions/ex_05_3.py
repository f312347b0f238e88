answer = 1.0

checks.ex_05_3(answer, useful_at)
