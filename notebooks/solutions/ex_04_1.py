def whole_set(shown, needed):
    return sum(wanted <= tools for tools, wanted in zip(shown, needed)) / len(needed)


checks.ex_04_1(whole_set)
