import ast


def read(text):
    listed = ast.parse(text, mode="eval").body
    if not isinstance(listed, ast.List) or not all(isinstance(node, ast.Call) for node in listed.elts):
        raise ValueError("not a list of calls")
    if any(node.args or None in [k.arg for k in node.keywords] for node in listed.elts):
        raise ValueError("an argument has no name")
    return [(ast.unparse(n.func), {k.arg: ast.literal_eval(k.value) for k in n.keywords}) for n in listed.elts]

checks.ex_08_1(read)
