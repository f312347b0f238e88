answer = "test_draws"

checks.ex_02_3(answer)
