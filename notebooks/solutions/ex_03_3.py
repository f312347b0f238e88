answer = 0.8

checks.ex_03_3(answer, success_at)
