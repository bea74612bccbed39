"""What Drive refuses with: a status, a reason, and a body in one of its forms.

The JSON form and the reasons are those of the facts' "Limits and errors"; the text form is
there because upload sessions answer some mistakes in plain text.
"""

from __future__ import annotations

from collections.abc import Mapping

from .wire import Response

# reason -> (status, domain, message). The first block is tried again by a client, the
# second is final, the third is about the request itself.
REASONS: Mapping[str, tuple[int, str, str]] = {
    "userRateLimitExceeded": (403, "usageLimits", "User Rate Limit Exceeded."),
    "rateLimitExceeded": (403, "usageLimits", "Rate Limit Exceeded"),
    "sharingRateLimitExceeded": (403, "usageLimits", "Sharing rate limit exceeded."),
    "tooManyRequests": (429, "usageLimits", "Too many requests."),
    "internalError": (500, "global", "Internal Error"),
    "badGateway": (502, "global", "Bad Gateway"),
    "backendError": (503, "global", "Transient failure"),
    "gatewayTimeout": (504, "global", "Deadline exceeded"),
    "authError": (401, "global", "Invalid Credentials"),
    "required": (401, "global", "Login Required."),
    "storageQuotaExceeded": (
        403,
        "usageLimits",
        "The user's Drive storage quota has been exceeded.",
    ),
    "quotaExceeded": (403, "usageLimits", "The quota has been exceeded."),
    "dailyLimitExceeded": (403, "usageLimits", "Daily Limit Exceeded"),
    "numChildrenInNonRootLimitExceeded": (
        403,
        "global",
        "The limit for the number of children in a folder has been exceeded.",
    ),
    "myDriveHierarchyDepthLimitExceeded": (
        403,
        "global",
        "Your My Drive can't contain more than 100 levels of folders.",
    ),
    "teamDriveFileLimitExceeded": (
        403,
        "global",
        "The file limit for this shared drive has been exceeded.",
    ),
    "teamDriveHierarchyTooDeep": (403, "global", "The shared drive hierarchy is too deep."),
    "insufficientFilePermissions": (
        403,
        "global",
        "The user does not have sufficient permissions for this file.",
    ),
    "insufficientPermissions": (
        403,
        "global",
        "Request had insufficient authentication scopes.",
    ),
    "appNotAuthorizedToFile": (
        403,
        "global",
        "The user has not granted the app write access to the file.",
    ),
    "domainPolicy": (403, "global", "The domain administrators have disabled Drive apps."),
    "propertyLengthLimitExceeded": (
        403,
        "global",
        "Properties are limited to 124 bytes in UTF-8, key and value together.",
    ),
    "propertyCountLimitExceeded": (403, "global", "Too many properties on this file."),
    "fieldNotWritable": (
        403,
        "global",
        "The resource body includes fields which are not directly writable.",
    ),
    "fileNotDownloadable": (
        403,
        "global",
        "Only files with binary content can be downloaded.",
    ),
    "parentNotAFolder": (403, "global", "The specified parent is not a folder."),
    "cannotAddParent": (403, "global", "Increasing the number of parents is not allowed"),
    "revisionDeletionNotSupported": (403, "global", "The revision can't be deleted."),
    "notFound": (404, "global", "File not found."),
    "deleted": (410, "global", "Gone"),
    "fileIdInUse": (409, "global", "A file already exists with the provided ID."),
    "badRequest": (400, "global", "Bad Request"),
    "invalid": (400, "global", "Invalid Value"),
    "invalidParameter": (400, "global", "Invalid parameter"),
    "parseError": (400, "global", "Parse Error"),
    "uploadTooLarge": (413, "global", "The upload is too large."),
}

# Which reason an HTTP status gets when a rule names only the status.
BY_STATUS: Mapping[int, str] = {
    400: "badRequest",
    401: "authError",
    403: "userRateLimitExceeded",
    404: "notFound",
    409: "fileIdInUse",
    410: "deleted",
    429: "tooManyRequests",
    500: "internalError",
    502: "badGateway",
    503: "backendError",
    504: "gatewayTimeout",
}


class ApiError(Exception):
    """A refusal. `text` set means a plain-text body instead of the JSON one."""

    def __init__(
        self,
        reason: str,
        message: str | None = None,
        *,
        status: int | None = None,
        parameter: str | None = None,
        text: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        known = REASONS.get(reason, (400, "global", reason))
        self.reason = reason
        self.status = known[0] if status is None else status
        self.domain = known[1]
        self.message = known[2] if message is None else message
        self.parameter = parameter
        self.text = text
        self.retry_after = retry_after
        super().__init__(f"{self.status} {reason}: {self.message}")

    def response(self) -> Response:
        headers: dict[str, str] = {}
        if self.retry_after is not None:
            headers["Retry-After"] = f"{self.retry_after:g}"
        if self.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="drive", error="invalid_token"'
        if self.text is not None:
            headers["Content-Type"] = "text/plain; charset=utf-8"
            return Response(self.status, headers, self.text.encode())
        detail: dict[str, str] = {
            "message": self.message,
            "domain": self.domain,
            "reason": self.reason,
        }
        if self.parameter is not None:
            detail |= {"location": self.parameter, "locationType": "parameter"}
        return Response.json(
            {
                "error": {
                    "code": self.status,
                    "message": self.message,
                    "errors": [detail],
                }
            },
            status=self.status,
            headers=headers,
        )


class OAuthError(Exception):
    """A refusal of the token server, in the form of RFC 6749: `{"error": "invalid_grant"}`."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description
        self.status = status

    def response(self) -> Response:
        body = {"error": self.error, "error_description": self.description}
        return Response.json(body, status=self.status)


def not_found(file_id: str) -> ApiError:
    """Invisible and absent look the same: 404 (facts: `drive.file` visibility)."""
    return ApiError("notFound", f"File not found: {file_id}.", parameter="fileId")


def plain(status: int, text: str) -> ApiError:
    """An error whose body is not JSON, as upload sessions give."""
    return ApiError(BY_STATUS.get(status, "badRequest"), text, status=status, text=text)
