def bits_a_weight(bits, group):
    return bits + 16 / group

checks.ex_06_1(bits_a_weight)
