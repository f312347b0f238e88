at_once = 3  # two would do for the plans of the tour, but it is close, and they are few

checks.ex_00_3(at_once, time_for)
