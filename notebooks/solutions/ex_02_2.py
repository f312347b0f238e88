def promises_an_attachment(plan):
    message = plan.steps[1].arguments[1].lower()
    return "attached" in message or "attachment" in message


checks.ex_02_2(promises_an_attachment)
