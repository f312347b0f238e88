def pull(margin, beta):
    return beta / (1 + np.exp(beta * margin))

checks.ex_05_1(pull)
