choice = {"grammar": True, "optional": False}

checks.ex_08_3(choice, caller)
