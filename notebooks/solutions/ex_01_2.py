gold = '1. get_phone_number("boss")\n2. send_sms(["$1"], "thank you for the raise")\n3. join()'
predicted = '1. get_phone_number("landlord")\n2. send_sms(["$1"], "you are a crook")\n3. join()'
answer = (predicted, gold)

checks.ex_01_2(answer)
