answer = '''
[[scenario]]
id = "late-for"
plan = """
1. get_phone_number("{person}")
2. send_sms(["$1"], "{message}")
"""
answer = "I told {person}."
[scenario.requests]
plain = ["Let {person} know by text that {message}."]
short = ["sms {person}: {message}"]
indirect = ["{person} should hear from me that {message}, and I have no hand free to type a message."]
'''

checks.ex_02_1(answer)
