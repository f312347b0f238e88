answer = """1. get_phone_number("Mom")
2. get_phone_number("Dad")
3. send_sms(["$1", "$2"], "the train is late")
4. join()<END_OF_PLAN>"""

checks.ex_00_2(answer)
