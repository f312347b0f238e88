answer = 1.5

checks.ex_05_3(answer, useful_at)
