"""The views of the page that `streamlit_app.py` opens; all that needs Streamlit is here (extra ``ui``)."""
