def may_run(step, first, begun, twins):
    if step.tool in ONLY_READ:
        return True
    if any(d not in twins for d in step.depends_on):
        return False
    return any((s.tool, s.arguments) == (step.tool, step.arguments) and s.id not in begun for s in first)

checks.ex_07_2(may_run)
