"""Versions of a file, and the offset of a partial response."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async._core.http.messages import Response
from rivya_async._core.http.range_requests import UNKNOWN_VERSION, ResourceVersion, resource_version, resume_offset


def response(status: int = 200, **headers: str) -> Response:
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, b"")


OLD: Final = "Mon, 11 May 2026 08:00:00 GMT"
NOW: Final = "Mon, 11 May 2026 08:01:00 GMT"


@pytest.mark.parametrize(
    ("head", "version"),
    [
        (response(ETag='"1"', Content_Length="10"), ResourceVersion('"1"', 10)),
        (response(ETag='"1"'), ResourceVersion('"1"', None)),
        (response(Content_Length="10"), ResourceVersion(None, 10)),
        (response(), UNKNOWN_VERSION),
        (response(ETag='W/"1"', Content_Length="10"), ResourceVersion(None, 10)),
        (response(ETag="1", Content_Length="ten"), UNKNOWN_VERSION),
        (response(ETag='"1"', Content_Length="10", Content_Encoding="gzip"), UNKNOWN_VERSION),
        (response(ETag='"1"', Content_Length="10", Content_Encoding="identity"), ResourceVersion('"1"', 10)),
        (response(206, ETag='"1"', Content_Length="5", Content_Range="bytes 5-9/10"), ResourceVersion('"1"', 10)),
        (response(206, ETag='"1"', Content_Length="5", Content_Range="bytes 5-9/*"), ResourceVersion('"1"', None)),
        (response(206, ETag='"1"', Content_Length="5"), ResourceVersion('"1"', None)),
        (response(Last_Modified=OLD, Date=NOW), ResourceVersion(OLD, None)),
        (response(Last_Modified=OLD, Date=OLD), UNKNOWN_VERSION),
        (response(Last_Modified=OLD), UNKNOWN_VERSION),
        (response(Last_Modified="yesterday", Date=NOW), UNKNOWN_VERSION),
        (response(Last_Modified=OLD, Date="today"), UNKNOWN_VERSION),
        (response(Last_Modified=OLD, Date=NOW, ETag='"1"'), ResourceVersion('"1"', None)),
        (response(Last_Modified=OLD, Date=NOW, ETag='W/"1"'), UNKNOWN_VERSION),
    ],
)
def test_version_of_response(head: Response, version: ResourceVersion) -> None:
    assert resource_version(head) == version


@pytest.mark.parametrize(
    ("version", "received", "headers"),
    [
        (ResourceVersion('"1"', 10), 5, {"Range": "bytes=5-", "If-Range": '"1"'}),
        (ResourceVersion('"1"', None), 5, {"Range": "bytes=5-", "If-Range": '"1"'}),
        (ResourceVersion('"1"', 10), 0, {}),
        (ResourceVersion(None, 10), 5, {}),
        (UNKNOWN_VERSION, 0, {}),
    ],
)
def test_range_headers(version: ResourceVersion, received: int, headers: dict[str, str]) -> None:
    assert version.range_headers(received) == headers
    assert version.can_resume is (version.validator is not None)


FIVE_OF_TEN = (ResourceVersion('"1"', 10), 5)


@pytest.mark.parametrize(
    ("head", "offset"),
    [
        (response(), 0),
        (response(203), 0),
        (response(206, Content_Range="bytes 5-9/10", ETag='"1"'), 5),
        (response(206, Content_Range="bytes 5-9/*", ETag='"1"'), 5),
        (response(206, Content_Range="bytes 5-9/10"), None),
        (response(206, Content_Range="bytes 5-9/10", ETag='W/"1"'), None),
        (response(206, Content_Range="bytes 4-9/10"), None),
        (response(206, Content_Range="bytes 5-9/11", ETag='"1"'), None),
        (response(206, Content_Range="bytes 5-9/10", ETag='"2"'), None),
        (response(206, Content_Range="bytes 5-9/10", Last_Modified=OLD, Date=NOW), None),
        (response(206, Content_Range="bytes */10"), None),
        (response(206, Content_Range="bytes 5-9/10", Content_Encoding="br", ETag='"1"'), None),
        (response(206), None),
    ],
)
def test_resume_offset(head: Response, offset: int | None) -> None:
    assert resume_offset(head, *FIVE_OF_TEN) == offset


@pytest.mark.parametrize("part", ["bytes 5-4/10", "bytes 5-10/10", "bytes 5-9/9", "bytes */10", "items 5-9/10", ""])
def test_invalid_range_is_no_part(part: str) -> None:
    head = response(206, Content_Range=part, ETag='"1"')
    assert resume_offset(head, ResourceVersion('"1"', 10), 5) is None
    assert resource_version(head).total is None
    assert resume_offset(response(206, Content_Range="bytes 5-9/*", ETag='"1"'), ResourceVersion('"1"', 10), 5) == 5


def test_resumes_same_date() -> None:
    version = ResourceVersion(OLD, 10)
    assert resume_offset(response(206, Content_Range="bytes 5-9/10", Last_Modified=OLD, Date=NOW), version, 5) == 5
    assert resume_offset(response(206, Content_Range="bytes 5-9/10", Last_Modified=OLD), version, 5) is None
    assert resume_offset(response(206, Content_Range="bytes 5-9/10", Last_Modified=NOW, Date=NOW), version, 5) is None


def test_nothing_received_is_not_resumed() -> None:
    assert resume_offset(response(206, Content_Range="bytes 0-9/10"), UNKNOWN_VERSION, 0) is None


@given(st.text(), st.text(), st.integers(0, 10**6))
def test_any_headers_give_valid_offset(content_range: str, length: str, received: int) -> None:
    head = response(206, Content_Range=content_range, Content_Length=length, ETag='"1"')
    assert resume_offset(head, ResourceVersion('"1"', 10), received) in {None, received}
    assert resource_version(head).validator == '"1"'
