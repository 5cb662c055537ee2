"""
What is broken: the operators of cosmic-ray that are of use here, and some for what it leaves
alone, such as the tables of states.
"""

from __future__ import annotations

import ast
import pickle
import re
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import parso
from cosmic_ray.ast import ast_nodes
from cosmic_ray.mutating import MutationVisitor
from cosmic_ray.operators.provider import OperatorProvider

from .running import ROOT

__all__ = ["Mutant", "mutants"]

_ADOPTED = [
    "AddNot",
    "ExceptionReplacer",
    "NumberReplacer",
    "ReplaceAndWithOr",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "ReplaceFalseWithTrue",
    "ReplaceOrWithAnd",
    "ReplaceTrueWithFalse",
    "ReplaceUnaryOperator_Delete_Invert",
    "ReplaceUnaryOperator_Delete_Not",
    "ReplaceUnaryOperator_Delete_USub",
    "ZeroIterationForLoop",
    *(
        f"ReplaceComparisonOperator_{one}_{other}"
        for pair in ("Eq NotEq", "Is IsNot", "Lt LtE", "Gt GtE", "Lt GtE", "LtE Gt", "Lt Gt")
        for one, other in (pair.split(), pair.split()[::-1])
    ),
    *(
        f"ReplaceBinaryOperator_{one}_{other}"
        for pair in ("Add Sub", "Mul FloorDiv", "BitOr BitAnd", "RShift LShift")
        for one, other in (pair.split(), pair.split()[::-1])
    ),
]
"""Of cosmic-ray's: without those that replace every operator by each of a dozen, most of which
die at once and so make the figures better than they are."""


class Mutant(NamedTuple):
    """
    A module with one fault.

    :ivar line: where it is.
    :ivar within: the function, or the class, that it is in; empty where it is in none.
    :ivar before: the lines that were changed, without their indentation.
    :ivar after: what became of them.
    """

    operator: str
    line: int
    within: str
    before: str
    after: str
    source: str

    @property
    def place(self) -> tuple[str, str, str]:
        """What is told of it in accepted.py."""
        return self.within, self.before, self.after


class _Operator:
    """As cosmic-ray's Operator, which is not inherited from: it has no types."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """Once for each way to change *node*."""
        for _ in range(self.ways(node)):
            yield node.start_pos, node.end_pos

    def ways(self, node: Any) -> int:
        """In how many ways *node* can be changed."""
        raise NotImplementedError

    def mutate(self, node: Any, index: int) -> Any:
        """Change *node* in one of these ways."""
        raise NotImplementedError


class RemoveStatement(_Operator):
    """A call, an assignment to an attribute, a ``raise``, ``del`` or ``return`` is left out."""

    def ways(self, node: Any) -> int:
        if node.parent is None or node.parent.type != "simple_stmt":
            return 0
        if node.type in ("raise_stmt", "del_stmt") or node == "return":
            return 1
        if node.type == "expr_stmt":
            target, operator = node.children[0], node.children[1]
            return int(operator.type == "operator" and _is_attribute(target, operator))
        return int(node.type == "atom_expr" and _is_call(node))

    def mutate(self, node: Any, index: int) -> Any:
        return _leaf("pass", node)


def _is_attribute(target: Any, operator: Any) -> bool:
    return bool(target.type == "atom_expr" or operator.value != "=")


def _is_call(node: Any) -> bool:
    return bool(node.children[-1].children[0] == "(")


class RemoveElement(_Operator):
    """An element of a set or a dictionary, or of a tuple within an expression, is left out."""

    def ways(self, node: Any) -> int:
        return len(self._elements(node))

    def mutate(self, node: Any, index: int) -> Any:
        first, after = self._elements(node)[index]
        del node.children[first:after]
        return node

    @staticmethod
    def _elements(node: Any) -> list[tuple[int, int]]:
        """Where those that can be left out begin, and end after their comma."""
        if node.type not in ("dictorsetmaker", "testlist_comp") or node.parent.type != "atom":
            return []
        if node.parent.children[0] not in ("(", "{"):
            return []
        if node.parent.parent.type in ("testlist_star_expr", "testlist", "dictorsetmaker"):
            return []  # what is taken apart, and keys: all die as soon as they are imported
        commas = [i for i, child in enumerate(node.children) if child == ","]
        begins = [0, *(i + 1 for i in commas)]
        ends = [*(i + 1 for i in commas), len(node.children)]
        return [(a, b) for a, b in zip(begins, ends, strict=False) if a < b and commas]


class ReplaceMember(_Operator):
    """
    A state, an event or another member of an enumeration becomes the next one.

    :param kinds: the names of the members of each.
    """

    def __init__(self, kinds: dict[str, list[str]]) -> None:
        self._kinds = kinds

    def ways(self, node: Any) -> int:
        if node.type != "name" or node.value not in self._kinds:
            return 0
        after = node.get_next_leaf()
        return int(after == "." and after.get_next_leaf().value in self._kinds[node.value])

    def mutate(self, node: Any, index: int) -> Any:
        member = node.get_next_leaf().get_next_leaf()
        members = self._kinds[node.value]
        member.value = members[(members.index(member.value) + 1) % len(members)]
        return node


def _enumerations(source: str) -> dict[str, list[str]]:
    """The members of the enumerations that a module defines, or imports from another of ours."""
    tree = ast.parse(source)
    found = _defined(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("twisted_fork."):
            path = ROOT / f"{str(node.module).replace('.', '/')}.py"
            if path.exists():
                theirs = _defined(ast.parse(path.read_text()))
                found.update((a.name, theirs[a.name]) for a in node.names if a.name in theirs)
    return found


def _defined(tree: ast.Module) -> dict[str, list[str]]:
    found = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and "Enum" in map(ast.unparse, node.bases):
            targets = [ast.unparse(m.targets[0]) for m in node.body if isinstance(m, ast.Assign)]
            found[node.name] = [name for name in targets if not name.startswith("_")]
    return found


def _leaf(word: str, node: Any) -> Any:
    prefix = node.get_first_leaf().prefix
    return parso.python.tree.Name(word, node.start_pos, prefix=prefix)


def mutants(source: str) -> list[Mutant]:
    """All mutants of a module that may behave differently, in the order of their lines."""
    provider = OperatorProvider()
    operators: list[tuple[str, Any]] = [(name, provider[name]()) for name in _ADOPTED]
    operators += [(kind.__name__, kind()) for kind in (RemoveStatement, RemoveElement)]
    operators.append(("ReplaceMember", ReplaceMember(_enumerations(source))))
    seen = {_meaning(source)}
    found = []
    tree = parso.parse(source)
    copy = _pickled(tree)  # unpickled several times as fast as parsed
    for name, operator in operators:
        places = sum(len(list(operator.mutation_positions(node))) for node in ast_nodes(tree))
        for occurrence in range(places):
            mutated = MutationVisitor(occurrence, operator).walk(pickle.loads(copy)).get_code()
            meaning = _meaning(mutated)
            if meaning is not None and meaning not in seen:
                seen.add(meaning)
                found.append(_mutant(name, source, mutated))
    return sorted(found, key=lambda mutant: mutant.line)


def _pickled(tree: Any) -> bytes:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10_000)
    try:
        return pickle.dumps(tree)
    finally:
        sys.setrecursionlimit(limit)  # what is tested is to have its own


def _mutant(name: str, source: str, mutated: str) -> Mutant:
    old, new = source.splitlines(), mutated.splitlines()
    first = next(i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b)
    while old and new and old[-1] == new[-1]:
        old.pop()
        new.pop()
    before, after = (_tidy(" ".join(map(str.strip, lines[first:]))) for lines in (old, new))
    return Mutant(name, first + 1, _within(source, first + 1), before, after, mutated)


def _within(source: str, line: int) -> str:
    within = ""
    for node in ast.walk(ast.parse(source)):  # the outer before the inner
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and (
            node.lineno <= line <= (node.end_lineno or 0)
        ):
            within = node.name
    return within


def _tidy(code: str) -> str:
    return re.sub(r"(?<=[(\[]) +", "", code)


def _meaning(source: str) -> str | None:
    """What the interpreter makes of it: without annotations and what is only for type checkers.
    None if it is not Python."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None
    return ast.dump(_Plain().visit(tree))


_CONTRARY: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
}


class _Plain(ast.NodeTransformer):
    """Without types; and what is ``not a < b`` is ``a >= b``."""

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        inner = node.operand
        if isinstance(node.op, ast.Not) and isinstance(inner, ast.Compare) and len(inner.ops) == 1:
            return ast.Compare(inner.left, [_CONTRARY[type(inner.ops[0])]()], inner.comparators)
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        self.generic_visit(node)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AnnAssign:
        node.annotation = ast.Constant(None)
        self.generic_visit(node)
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.Assign | None:
        ignored = isinstance(node.targets[0], ast.Name) and node.targets[0].id == "TYPE_CHECKING"
        return None if ignored else node

    def visit_If(self, node: ast.If) -> ast.AST | None:
        if "TYPE_CHECKING" in ast.unparse(node.test):
            return None
        self.generic_visit(node)
        return node
