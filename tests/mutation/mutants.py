"""Small changes to a module, each of which should make some test fail.

Every node of the syntax tree may be changed, also in tables, decorated classes and defaults. Left alone are what only
people or type checkers read (docstrings, annotations, aliases, texts with a space in them), assertions, decorators and
the lists of public names.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import attrs

__all__ = ["Mutant", "changed", "mutants_of"]

OPERATORS: Mapping[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}
TYPE_NAME = re.compile(r"_*[A-Z]+[a-z]\w*")
"""Such as ``Uniform = Callable[[float, float], float]``."""
Change: TypeAlias = tuple[ast.AST, str]
"""What stands in a node's place, and how that is told."""


@attrs.frozen
class Mutant:
    """One change.

    Attributes:
        number: Its place among the mutants of its module.
        line: Of the source.
        place: The function, by its qualified name; empty for the module's own level.
        change: What becomes what.
    """

    number: int
    line: int
    place: str
    change: str


@attrs.frozen
class _Site:
    mutant: Mutant
    parent: ast.AST
    field: str
    index: int | None
    replacement: ast.AST


def mutants_of(source: str) -> list[Mutant]:
    """All mutants of a module, in the order of its source."""
    return [site.mutant for site in _sites(ast.parse(source))]


def changed(source: str, number: int) -> ast.Module:
    """The module with one of its mutants in place."""
    tree = ast.parse(source)
    site = next(site for site in _sites(tree) if site.mutant.number == number)
    if site.index is None:
        setattr(site.parent, site.field, site.replacement)
    else:
        getattr(site.parent, site.field)[site.index] = site.replacement
    return ast.fix_missing_locations(tree)


def _sites(tree: ast.Module) -> Iterator[_Site]:
    enums = {node.name: _members(node) for node in tree.body if isinstance(node, ast.ClassDef) and _is_enum(node)}
    for number, (parent, field, index, node, scope, (replacement, change)) in enumerate(
        _changes_below(tree, (), enums)
    ):
        line = getattr(node, "lineno", getattr(parent, "lineno", 0))
        yield _Site(Mutant(number, line, ".".join(scope), change), parent, field, index, replacement)


_Found: TypeAlias = tuple[ast.AST, str, int | None, ast.AST, tuple[str, ...], Change]


def _changes_below(parent: ast.AST, scope: tuple[str, ...], enums: Mapping[str, list[str]]) -> Iterator[_Found]:
    for field, value in ast.iter_fields(parent):
        if field in ("annotation", "returns", "decorator_list", "bases", "keywords") and not (
            field == "keywords" and isinstance(parent, ast.Call)
        ):
            continue
        children = value if isinstance(value, list) else [value]
        for index, node in enumerate(children):
            if not isinstance(node, ast.AST) or _is_for_people(node):
                continue
            inside = (*scope, node.name) if isinstance(node, ast.ClassDef | ast.FunctionDef) else scope
            for change in _changes(node, enums, table=not scope):
                yield parent, field, index if isinstance(value, list) else None, node, inside, change
            yield from _changes_below(node, inside, enums)


def _is_for_people(node: ast.AST) -> bool:
    """Whether a node is nothing that a test could notice: people or type checkers read it."""
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Assert() | ast.JoinedStr() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Assign(value=ast.Call(func=ast.Name("TypeVar"))):
            return True
        case ast.Assign(targets=[ast.Name(name)]):
            return name == "__all__" or bool(TYPE_NAME.fullmatch(name))
        case ast.AnnAssign(annotation=ast.Name("TypeAlias")) | ast.If(test=ast.Name("TYPE_CHECKING")):
            return True
        case ast.Constant(value=str(text)):
            return " " in text
    return False


def _is_enum(node: ast.ClassDef) -> bool:
    return any("Enum" in ast.unparse(base) for base in node.bases)


def _members(node: ast.ClassDef) -> list[str]:
    return [
        target.id
        for line in node.body
        if isinstance(line, ast.Assign)
        for target in line.targets
        if isinstance(target, ast.Name)
    ]


def _changes(node: ast.AST, enums: Mapping[str, list[str]], *, table: bool) -> Iterator[Change]:
    match node:
        case ast.Compare(ops=ops):
            for n, op in enumerate(ops):
                yield _swap(node, ops=[*ops[:n], OPERATORS[type(op)](), *ops[n + 1 :]])
        case ast.BoolOp(op=op) | ast.BinOp(op=op):
            yield _swap(node, op=OPERATORS[type(op)]())
        case ast.AugAssign(op=op):
            yield _swap(node, op=OPERATORS[type(op)]())
            yield ast.Pass(), _without(node)
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert(), operand=operand):
            yield operand, _becomes(node, operand)
        case ast.Constant(value=value):
            yield from _other_constants(value)
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant):
                opposite = ast.UnaryOp(ast.Not(), test)
                yield _with(node, test=opposite), _becomes(test, opposite)
        case (
            ast.Expr()
            | ast.Raise()
            | ast.Delete()
            | ast.Assign(targets=[ast.Attribute() | ast.Subscript()])
            | ast.AnnAssign(target=ast.Attribute(), value=ast.expr())
        ):
            yield ast.Pass(), _without(node)
        case ast.Return(value=ast.Constant(value=None)) | ast.Lambda(body=ast.Constant(value=None)):
            pass
        case ast.Return(value=ast.expr()):
            yield _swap(node, value=ast.Constant(None))
        case ast.Lambda():
            yield _swap(node, body=ast.Constant(None))
        case ast.Break():
            yield ast.Continue(), "`break` becomes `continue`"
        case ast.Continue():
            yield ast.Break(), "`continue` becomes `break`"
        case ast.Call(keywords=keywords):
            for n, keyword in enumerate(keywords):
                yield _with(node, keywords=keywords[:n] + keywords[n + 1 :]), _without(keyword)
        case ast.Attribute(value=ast.Name(name), attr=attr) if attr in enums.get(name, ()):
            members = enums[name]
            yield _swap(node, attr=members[(members.index(attr) + 1) % len(members)])
        case ast.Set(elts=elements) | ast.List(elts=elements) | ast.Tuple(elts=elements) if table and elements:
            for n, element in enumerate(elements):
                yield _with(node, elts=elements[:n] + elements[n + 1 :]), _without(element)
        case ast.Dict(keys=keys, values=values) if table:
            for n, key in enumerate(keys):
                fewer = _with(node, keys=keys[:n] + keys[n + 1 :], values=values[:n] + values[n + 1 :])
                yield fewer, _without(key or values[n])


def _other_constants(value: object) -> Iterator[Change]:
    other: object
    match value:
        case bool():
            other = not value
        case int() | float():
            other = value + 1 if value + 1 != value else 0.0
        case str():
            other = f"XX{value}XX"
        case bytes():
            other = b"XX" + value + b"XX"
        case _:
            return
    yield ast.Constant(other), f"`{value!r}` becomes `{other!r}`"


def _with(node: ast.AST, **fields: object) -> ast.AST:
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def _swap(node: ast.AST, **fields: object) -> Change:
    other = _with(node, **fields)
    return other, _becomes(node, other)


def _becomes(node: ast.AST, other: ast.AST) -> str:
    return f"`{ast.unparse(node)}` becomes `{ast.unparse(other)}`"


def _without(node: ast.AST) -> str:
    return f"without `{ast.unparse(node)}`"
