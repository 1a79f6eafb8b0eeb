"""Files from the visitor's or the server's machine into an index: which files, which columns, which index."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple, get_args

import streamlit as st
from streamlit.typing import UploadedFile

from rag_app.corpus.indexing_job import IndexingJob, SourceFile, Write, readable_files
from rag_app.corpus.indexing_writes import building, updating
from rag_app.files.parsing import SUPPORTED_SUFFIXES
from rag_app.files.tables import Columns
from rag_app.index import Index
from rag_app.page.corpus.column_questions import choose_columns
from rag_app.page.corpus.jobs import jobs
from rag_app.page.corpus.room import check_jobs, check_room
from rag_app.page.library import new_folder
from rag_app.page.limits import check_upload
from rag_app.page.powers import are_guests, shown_model
from rag_app.page.problems import ERRORS, show_explained
from rag_app.page.resources import embedding_model, version
from rag_app.page.words import say
from rag_app.rendering.text import escape_markdown
from rag_app.scratch import scratch_folder
from rag_app.settings import Settings
from rag_app.stores.address import Address

From = Literal["files", "directory", "server"]
Target = Literal["add", "new", "replace"]

_ROUND = "upload round"  # counts up when files were taken over, so that uploader and name empty
_STARTED = "upload started"
_TARGET = "upload target"


class Chosen(NamedTuple):
    """Files that were chosen, uploaded ones or those of a folder of the server.

    Attributes:
        uploads: In the memory of this process.
        folder: A file or folder of the server's machine; empty for uploads.
        columns: The columns that were chosen for tables, by the file's name.
        left_out: Names of uploads that are to be left out.
    """

    uploads: Sequence[UploadedFile] = ()
    folder: str = ""
    columns: Mapping[str, Columns] = MappingProxyType({})
    left_out: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.folder) or any(upload.name not in self.left_out for upload in self.uploads)


class Goal(NamedTuple):
    """What is to become of the files.

    Attributes:
        path: Where the index is.
        write: Writes it.
        prepare: Loads the model that it is built with.
        whole: Whether a file that cannot be read keeps the index as it is.
        in_parts: Whether what was written stays where the rest was not.
    """

    path: Path | Address
    write: Write
    prepare: Callable[[], object] = lambda: None
    whole: bool = False
    in_parts: bool = False


def show_uploads(path: Path | Address, index: Index | None, settings: Settings) -> None:
    """Let the visitor choose files and what to do with them; start that.

    Args:
        path: The index that is chosen.
        index: The same, open; None if there is none yet.
        settings: Those of the page.
    """
    chosen = _choose_files(settings)
    goal = _choose_goal(path, index, settings)
    busy = isinstance(goal, Goal) and jobs().is_busy(goal.path)
    pressed = st.button(
        say("색인 시작", "Start indexing"),
        type="primary",
        icon=":material/play_arrow:",
        disabled=not chosen or isinstance(goal, str) or busy,
    )
    if busy:
        st.caption(say("이 색인에는 이미 작업이 있습니다.", "A job is at work on this index already."))
    elif not chosen:
        st.caption(say("먼저 파일이나 폴더를 고르세요.", "Choose files or a folder first."))
    elif isinstance(goal, str):
        st.caption(goal)
    if pressed and chosen and isinstance(goal, Goal):
        _start(chosen, goal, settings)


def _choose_files(settings: Settings) -> Chosen:
    words = {
        "files": say("파일", "Files"),
        "directory": say("폴더", "A folder"),
        "server": say("서버의 폴더", "A folder of the server"),
    }
    kind: From = st.segmented_control(
        say("무엇을 올릴까요?", "What to upload"),
        [kind for kind in get_args(From) if kind != "server" or not are_guests(settings)],
        format_func=words.__getitem__,
        default="files",
        required=True,
        key="upload from",
        persist_state="session",
    )
    if kind == "server":
        folder = st.text_input(
            say("파일이나 폴더의 경로", "Path of a file or folder"),
            placeholder="/data/news",
            key="upload path",
            help=say(
                "이 페이지를 돌리는 컴퓨터에 있는 경로입니다. 하위 폴더까지 읽고, 숨은 파일은 지나칩니다.",
                "On the machine that runs this page. Folders in it are read too, hidden files are not.",
            ),
        )
        return Chosen(folder=folder.strip())
    uploads = st.file_uploader(
        say("파일을 여기로 끌어 놓거나 고르세요.", "Drop files here or choose them.")
        if kind == "files"
        else say(
            "폴더를 고르세요. 읽을 수 있는 파일만 올라갑니다.", "Choose a folder. Files that can be read are uploaded."
        ),
        type=list(SUPPORTED_SUFFIXES),
        accept_multiple_files=True if kind == "files" else "directory",
        key=f"upload {kind} {st.session_state.get(_ROUND, 0)}",
        help=say(
            "같은 이름의 파일은 새 판으로 바뀝니다. 읽지 못한 파일은 지금 색인에 있는 판이 그대로 남습니다.",
            "A file of a name that is there already takes its place. Of one that cannot be read, what is there stays.",
        ),
    )
    st.caption(
        say(
            f"한 번에 {settings.upload_files:,}개, 모두 {settings.upload_mb:,}MB까지",
            f"At most {settings.upload_files:,} files and {settings.upload_mb:,} MB at once",
        )
    )
    columns, left_out = choose_columns(uploads)
    return Chosen(uploads, "", columns, left_out)


def _choose_goal(path: Path | Address, index: Index | None, settings: Settings) -> Goal | str:
    """Ask what the files are for; return what is still to be done while that is not complete, in words."""
    if index is None:
        return _build(path, settings, _choose_model(settings.model, "first model", settings))
    name = path.name.lstrip(".")
    words = {
        "add": say(f"‘{name}’에 더하기", f"Add to “{name}”"),
        "new": say("새 색인 만들기", "Make a new index"),
        "replace": say(f"‘{name}’ 바꾸기", f"Replace “{name}”"),
    }
    if st.session_state.pop(_STARTED, False) and st.session_state.get(_TARGET) == "new":
        st.session_state[_TARGET] = "add"  # the new index is on its way: nobody makes one after the other
    target: Target = st.radio(
        say("어디에 넣을까요?", "Where to"),
        get_args(Target),
        format_func=lambda choice: escape_markdown(words[choice]),
        horizontal=True,
        key=_TARGET,
        persist_state="session",
    )
    if target == "add":
        model = escape_markdown(shown_model(str(index.snapshot.manifest["model"]["name"]), settings))
        st.caption(
            say(
                f"같은 이름의 파일은 새 판으로 바뀝니다. 같은 글은 한 번만 들어갑니다. 임베딩 모델: {model}",
                f"A file of the same name is replaced. The same text goes in once. Embedding model: {model}",
            )
        )
        return Goal(path, updating(index), in_parts=isinstance(path, Address))
    if target == "replace":
        return _replace(path, index, settings)
    name = st.text_input(
        say("새 색인의 이름", "Name of the new index"),
        max_chars=60,
        key=f"new index name {st.session_state.get(_ROUND, 0)}",
        placeholder=say("예: 경제 기사 2025", "For example: business 2025"),
    )
    model = _choose_model(settings.model, "new model", settings)
    if not name.strip():
        return say("새 색인의 이름을 적으세요.", "Type a name for the new index.")
    try:
        return _build(new_folder(name, settings), settings, model)
    except FileExistsError:
        st.warning(say("그 이름의 색인이 이미 있습니다.", "There is an index of that name already."))
    except ValueError:
        st.warning(
            say(
                "이름에는 글자, 숫자, 빈칸, ‘-’, ‘_’, ‘.’만 쓸 수 있고, 글자나 숫자로 시작해야 합니다.",
                "A name is made of letters, digits, spaces, '-', '_' and '.', and begins with a letter or digit.",
            )
        )
    return say("새 색인의 이름을 고치세요.", "Mend the name of the new index.")


def _replace(path: Path | Address, index: Index, settings: Settings) -> Goal | str:
    count = index.snapshot.manifest["documents"]
    model = _choose_model(str(index.snapshot.manifest["model"]["name"]), "replacing model", settings)
    whole = st.checkbox(
        say("읽지 못한 파일이 하나라도 있으면 바꾸지 않기", "Replace nothing if any file cannot be read"), value=True
    )
    sure = st.checkbox(
        say(
            f"지금 색인의 기사 {count:,}건을 버리고 새로 만듭니다. 다 될 때까지는 지금 색인을 씁니다.",
            f"Drop the {count:,} articles of this index and build it anew. Until that is done, this one serves.",
        ),
        key=f"sure to replace {path.name} {version(index)}",
    )
    if not sure:
        return say("지금 색인의 기사를 버려도 되면 위 칸에 표시하세요.", "Tick the box above if the articles may go.")
    return _build(path, settings, model, replace=True)._replace(whole=whole)


def _choose_model(default: str, key: str, settings: Settings) -> str:
    if are_guests(settings):
        return default
    name = st.text_input(
        say("임베딩 모델", "Embedding model"),
        default,
        key=key,
        help=say(
            "`embedded`는 함께 들어 있는 모델입니다. 모델 폴더나 Hub 이름도 됩니다.",
            "`embedded` is the model that comes with the package. A model's folder or Hub name works too.",
        ),
    )
    return name.strip() or default


def _build(path: Path | Address, settings: Settings, model: str, *, replace: bool = False) -> Goal:
    load = partial(embedding_model, model, settings.backend)
    return Goal(path, building(path, load, replace=replace), load)


def _start(chosen: Chosen, goal: Goal, settings: Settings) -> None:
    uploads = None
    try:
        check_jobs(jobs(), settings)
        if chosen.folder and not are_guests(settings):
            sources = [SourceFile(file) for file in readable_files(Path(chosen.folder).expanduser())]
            check_room(goal.path, sum(source.path.stat().st_size for source in sources), settings)
        else:
            sizes = [upload.size for upload in chosen.uploads if upload.name not in chosen.left_out]
            check_upload(sizes, settings)
            check_room(goal.path, 2 * sum(sizes), settings)  # for a while as files too
            uploads = scratch_folder()
            with st.spinner(say("파일을 옮기는 중입니다…", "Taking the files over…")):
                sources = _put_down(chosen, Path(uploads.name))
        jobs().start(IndexingJob(goal.path, sources, goal.write, goal.whole, goal.in_parts, uploads, goal.prepare))
    except ERRORS as error:
        if uploads is not None:
            uploads.cleanup()
        show_explained(error)
        return
    st.session_state[_ROUND] = st.session_state.get(_ROUND, 0) + 1
    st.session_state[_STARTED] = True
    st.rerun()


def _put_down(chosen: Chosen, folder: Path) -> list[SourceFile]:
    """Write uploads to a folder under names of ours; what their owners call them is never a path."""
    sources = []
    for number, upload in enumerate(chosen.uploads):
        if upload.name in chosen.left_out:
            continue
        path = folder / f"{number:06d}"
        path.write_bytes(upload.getbuffer())
        sources.append(SourceFile(path, upload.name, chosen.columns.get(upload.name, Columns())))
    return sources
