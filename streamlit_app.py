"""The page: a chat in Korean over the articles of an index, with sources one can check.

    RAG_INDEX=.index streamlit run streamlit_app.py

It starts from the same ``RAG_*`` settings as ``rag-app``; see `rag_app.settings`. What a document or a chat model
wrote is shown as text, never as HTML or an image; the only links are addresses that one can read. The views are in
`rag_app.page`.
"""

import streamlit as st

from rag_app.page.failures import script_failed
from rag_app.page.frame import awake, show_frame, wake
from rag_app.page.style import apply_style
from rag_app.page.visitor import let_in


def main() -> None:
    """Show the page; to the first visitor of the process its frame first, since the rest takes a while to import."""
    apply_style()
    if not let_in():
        return
    if not awake():
        show_frame()
        wake()
        st.rerun()
    from rag_app.page.opening import open_page

    open_page()


if __name__ == "__main__":  # as the script that Streamlit runs for each visitor
    main()
else:  # as the module that it serves
    from rag_app.page.server.application import MIDDLEWARE

    app = st.App(__file__, middleware=MIDDLEWARE, on_script_error=script_failed)
