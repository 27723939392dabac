"""Generators and answers -> files in memory. Nothing here reads or writes the disk.

Templates run in Jinja's sandbox: no attribute that starts with an underscore, no change to the
answers, no file outside the generator. The same answers always give the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from jinja2 import (
    FunctionLoader,
    StrictUndefined,
    TemplateNotFound,
    TemplateRuntimeError,
    TemplateSyntaxError,
    Undefined,
)
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

from gitops.errors import ConfigError, GitopsError, Where
from gitops.scaffold import literals, paths
from gitops.scaffold.generator import Generator, Owner, Rule, TemplateFile, nearest


@dataclass(frozen=True)
class Rendered:
    """A generated file: its path in the repository, exact bytes, owner, and what made it.

    `model` is the added model that it belongs to.
    """

    path: PurePosixPath
    content: bytes
    executable: bool
    owner: Owner
    generator: str
    model: str | None = None


def tool_file(path: str, content: bytes) -> Rendered:
    """A file that the tool itself writes beside those of generators.

    Raises:
        ConfigError: the path is unusable.
    """
    return Rendered(paths.check(path), content, False, "tool", "gitops")


def render(
    generators: Iterable[Generator],
    context: Mapping[str, object],
    special: Mapping[str, Mapping[str, object]] | None = None,
) -> tuple[Rendered, ...]:
    """Every file that the generators make of the answers in `context`, in the order of their paths.

    `special`: other answers, for the files at these paths.

    Raises:
        ConfigError: a template is wrong or uses what isn't there (template file, line, nearest
            name); a path is unusable (see paths.check); two generators write the same path.
    """
    done: dict[PurePosixPath, Rendered] = {}
    for generator in generators:
        own: dict[PurePosixPath, Rendered] = {}
        for file in _Renderer(generator, context).files(special or {}):
            other = own.get(file.path) or done.get(file.path)
            if other is not None and (
                other.generator == generator.name or not generator.takes_over(str(file.path))
            ):
                raise _twice(other, file)
            own[file.path] = file
        done |= own
    paths.check_distinct(done)
    return tuple(done[path] for path in sorted(done))


def _twice(other: Rendered, file: Rendered) -> ConfigError:
    if other.generator == file.generator:
        return ConfigError(
            f"generator {file.generator!r} has two templates for {file.path}",
            fix="take one of the two templates away",
        )
    return ConfigError(
        f"generators {other.generator!r} and {file.generator!r} both write {file.path}",
        fix=f"take one of the two templates away, or let {file.generator!r} say"
        f" `overrides: [{file.path}]` in its generator.yaml",
    )


def render_paths(
    generator: Generator, texts: Iterable[str], context: Mapping[str, object]
) -> dict[str, PurePosixPath]:
    """The output paths that `texts` spell, with answers in `@{ }@`; raises as `render`."""
    renderer = _Renderer(generator, context)
    where = Where(generator.folder / "generator.yaml")
    found = {}
    for text in texts:
        names = [renderer.name(part, where) for part in text.rstrip("/").split("/")]
        found[text] = paths.check("/".join(names), where)
    return found


def render_each(
    generator: Generator, contexts: Iterable[tuple[PurePosixPath, Mapping[str, object]]]
) -> Iterator[Rendered]:
    """The generator's files once for each model (its folder, its answers), inside the folder.

    Templates are compiled once: a thousand models cost little more than their text. Raises as
    `render`, but doesn't compare paths with each other.
    """
    renderer: _Renderer | None = None
    for folder, context in contexts:
        renderer = renderer or _Renderer(generator, context)
        renderer.context, renderer.names = dict(context), {}
        for file in renderer.files({}):
            yield replace(file, path=folder / file.path, model=str(context["model"]))


class _Renderer:
    """One generator with its answers, and Jinja set up for it."""

    def __init__(self, generator: Generator, context: Mapping[str, object]) -> None:
        self.generator = generator
        self.context = dict(context)
        self.folder = generator.folder / "template"
        self.sources = {file.path: file.content for file in generator.files}
        self.environment = _environment(self)
        self.crlf = self.environment.overlay(newline_sequence="\r\n")
        self.names: dict[str, str] = {}
        self.conditions: dict[Rule, Callable[..., object]] = {}

    def files(self, special: Mapping[str, Mapping[str, object]]) -> Iterable[Rendered]:
        for file in self.generator.files:
            path = self._path(file)
            context = special.get(str(path), self.context)
            if not self._wanted(self.generator.condition(str(path)), context):
                continue
            template = file.path.endswith(".j2")
            yield Rendered(
                path=path,
                content=self._content(file, context) if template else file.content,
                executable=file.executable,
                owner=self.generator.owner(str(path)),
                generator=self.generator.name,
            )

    def _path(self, file: TemplateFile) -> PurePosixPath:
        where = Where(self.folder / file.path)
        names = [self.name(part, where) for part in file.path.removesuffix(".j2").split("/")]
        return paths.check("/".join(names), where)

    def name(self, part: str, where: Where) -> str:
        """One rendered name; a value with a `/` in it must not make folders of its own."""
        if "@" not in part:
            return part
        if part not in self.names:
            try:
                text = self.environment.from_string(part).render(self.context)
            except Exception as error:
                raise self._fault(error, Where(where.file)) from error
            self.names[part] = paths.check_name(text, part, where)
        return self.names[part]

    def _wanted(self, rule: Rule | None, context: Mapping[str, object]) -> bool:
        if rule is None or rule.when is None:
            return True
        try:
            if rule not in self.conditions:
                self.conditions[rule] = self.environment.compile_expression(
                    rule.when, undefined_to_none=False
                )
            return bool(self.conditions[rule](context))
        except Exception as error:
            raise self._fault(error, rule.where) from error

    def _content(self, file: TemplateFile, context: Mapping[str, object]) -> bytes:
        where = Where(self.folder / file.path)
        environment = self.environment if _line_end(file.content, where) == "\n" else self.crlf
        try:
            return environment.get_template(file.path).render(context).encode()
        except Exception as error:
            raise self._fault(error, where) from error

    def source(self, name: str) -> tuple[str, str, None] | None:
        """Jinja's loader: text and file name of a template, out of memory only."""
        content = self.sources.get(name)
        if content is None:
            return None
        try:
            return content.decode(), str(self.folder / name), None
        except UnicodeDecodeError as error:
            raise ConfigError(
                "the template is not UTF-8 text",
                fix="save it as UTF-8; or drop `.j2` from its name, and it is copied as it is",
                where=Where(self.folder / name, content.count(b"\n", 0, error.start) + 1),
            ) from error

    def _fault(self, error: Exception, where: Where) -> GitopsError:
        """What went wrong inside Jinja, as an error that names the place."""
        if isinstance(error, GitopsError):
            return error
        if isinstance(error, TemplateSyntaxError):
            # Of an expression or a path, Jinja has no file name.
            place = Where(error.filename, error.lineno) if error.filename else where
            return ConfigError(
                f"template syntax: {error.message}", fix="mend the template", where=place
            )
        line = self._line(error)
        place = line or where
        if isinstance(error, TemplateNotFound):
            name = str(error.name)
            return ConfigError(
                f"{name!r} is no file of the generator{nearest(name, self.sources)}",
                fix="include only files under the generator's own template/ folder",
                where=place,
            )
        kind = "" if type(error).__module__.startswith("jinja2") else f"{type(error).__name__}: "
        return ConfigError(
            f"{kind}{error or 'the template cannot be rendered'}",
            fix="mend the template, or the answers that it is rendered with",
            where=place,
        )

    def _line(self, error: BaseException) -> Where | None:
        """The innermost place in a template of ours that the error came through."""
        found = None
        trace = error.__traceback__
        while trace is not None:
            name = trace.tb_frame.f_code.co_filename
            if Path(name).is_relative_to(self.folder):
                found = Where(name, trace.tb_lineno)
            trace = trace.tb_next
        return found


def _environment(renderer: _Renderer) -> ImmutableSandboxedEnvironment:
    """Jinja's sandbox, with delimiters that no format of ours uses: `@{ }@`, `@% %@`, `@# #@`."""
    environment = ImmutableSandboxedEnvironment(
        variable_start_string="@{",
        variable_end_string="}@",
        block_start_string="@%",
        block_end_string="%@",
        comment_start_string="@#",
        comment_end_string="#@",
        undefined=_undefined(tuple(renderer.context)),
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
        loader=FunctionLoader(renderer.source),
        auto_reload=False,
    )
    # These two draw lots.
    del environment.globals["lipsum"], environment.filters["random"]
    environment.globals["ejected"] = False
    environment.filters["toyaml"] = literals.as_yaml
    environment.filters["tojson"] = literals.as_json
    environment.filters["topython"] = literals.as_python
    return environment


def _undefined(names: tuple[str, ...]) -> type[StrictUndefined]:
    """A strict undefined whose error names the nearest of what there is."""

    class Missing(StrictUndefined):
        __slots__ = ()

        @property
        def _undefined_message(self) -> str:
            if self._undefined_hint:  # the sandbox's own words
                return self._undefined_hint
            name, owner = str(self._undefined_name), self._undefined_obj
            if owner is missing:
                return f"`{name}` is undefined{nearest(name, names)}"
            if isinstance(owner, Mapping):
                return f"`{name}` is no key of a mapping{nearest(name, owner)}"
            return f"{type(owner).__name__} has no {name!r}"

    return Missing


def _printable(value: Any) -> Any:  # noqa: ANN401
    """Only text and numbers: no file format means what Python prints of None, True or a list."""
    if isinstance(value, str | int | float | Undefined) and not isinstance(value, bool):
        return value
    raise TemplateRuntimeError(
        f"{value!r} cannot be printed as it is: use `| toyaml`, `| tojson` or `| topython`"
    )


def _line_end(content: bytes, where: Where) -> str:
    r"""`\n` or `\r\n`, whichever ends every line.

    Raises:
        ConfigError: the ends are mixed; Jinja would even them out.
    """
    if b"\r" not in content:
        return "\n"
    ends = re.findall(rb"\r\n|\r|\n", content)
    for number, end in enumerate(ends, start=1):
        if end != b"\r\n":
            raise ConfigError(
                r"the template mixes line ends (\n and \r\n)",
                fix="end every line alike; or drop `.j2` from its name, and it is copied as it is",
                where=Where(where.file, number),
            )
    return "\r\n"
