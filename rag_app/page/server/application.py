"""The page as Streamlit is to serve it: with what stands before it."""

from starlette.middleware import Middleware

from rag_app.page.server.headers import Headers
from rag_app.page.server.origins import Origins
from rag_app.page.server.password import Password
from rag_app.page.server.uploads import UploadLimits

MIDDLEWARE = (Middleware(Headers), Middleware(Origins), Middleware(Password), Middleware(UploadLimits))
"""From the outside in."""
