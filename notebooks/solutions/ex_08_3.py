choice = {"grammar": True, "find": True}

checks.ex_08_3(choice, caller, finder)
