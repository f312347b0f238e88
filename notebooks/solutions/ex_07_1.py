def command(script, recipients, message):
    return ["osascript", script, message, str(len(recipients)), *recipients]

checks.ex_07_1(command)
