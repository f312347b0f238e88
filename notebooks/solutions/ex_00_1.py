answer = {1, 3, 5, 7}

checks.ex_00_1(answer)
