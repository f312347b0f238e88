answer = next(scale for scale in (0.2, 0.4, 0.6, 0.8, 1.0) if success_at(scale) >= success_at(1.0) - 1)

checks.ex_03_3(answer, success_at)
