"""Asking the Hugging Face hub, with its errors as one line each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from condistill.errors import UserError, brief


@contextlib.contextmanager
def asking(what: str) -> Iterator[None]:
    """A block that asks the hub for `what`.

    Raises:
        UserError: no connection, no token, no permission, no such repository.
    """
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    # the error of the library beneath, which is another one from release to release: httpx2.HTTPError in 2.4
    transport: Any = HfHubHTTPError.__bases__[0]
    try:
        yield
    except LocalTokenNotFoundError:
        raise no_token() from None
    except HfHubHTTPError as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status == 401:
            raise UserError(f"the hub does not accept the token for {what}; log in again: hf auth login") from None
        raise UserError(f"the hub refused {what} ({brief(error)}); check the name and what the token may do") from None
    except (OSError, transport) as error:
        raise UserError(f"the hub could not be reached for {what} ({brief(error)}); check the connection") from None
    except RuntimeError as error:  # what the library makes of a file that did not get through, whatever the reason
        said = f"{what} broke off ({brief(error)}: {brief(error.__cause__ or error)})"
        raise UserError(f"{said}; run the same command again, what has arrived is not sent again") from None


def no_token() -> UserError:
    """The error for a missing token."""
    return UserError("no Hugging Face token; log in (hf auth login), set HF_TOKEN, or write the folder only: --dry-run")
