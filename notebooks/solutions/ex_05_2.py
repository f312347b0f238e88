def right_tools(plan, gold):
    try:
        made, wanted = (Counter(step.tool for step in parse_plan(text).steps) for text in (plan, gold))
    except PlanError:
        return 0.0
    return 2 * (made & wanted).total() / (made.total() + wanted.total())

checks.ex_05_2(right_tools)
