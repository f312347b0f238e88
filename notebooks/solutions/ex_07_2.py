def may_run(step, first, done):
    if step.tool in ONLY_READ:
        return True
    return any((s.tool, s.arguments) == (step.tool, step.arguments) and s.id not in done for s in first)

checks.ex_07_2(may_run)
