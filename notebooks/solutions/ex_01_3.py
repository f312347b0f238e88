def same_message(ours, gold):
    small = set("the a an please i m am ll will s us thank you thanks your".split())  # say nothing by themselves
    whole = [re.sub("n't", " not", text.casefold().replace("won't", "will not")) for text in (ours, gold)]
    one, other = ([word for word in re.findall(r"\w+", text) if word not in small] for text in whole)
    return one == other


checks.ex_01_3(same_message)
