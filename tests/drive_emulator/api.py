"""The methods of Drive v3: from a request to a change of the drive and an answer.

Everything that can be refused is refused before anything is changed; `fields` first of all,
so that a misspelt name does not leave a file behind. Bytes are hashed before the drive's lock
is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .behaviour import Behaviour
from .clock import Clock
from .drive import Drive
from .errors import ApiError
from .fields import Mask, mask_for, pick
from .items import ME, Caller, Content, Item, Revision
from .kinds import Kind
from .limits import Limits
from .listing import Lister, page_size, params_all_drives
from .log import RequestLog
from .media import download
from .metadata import Metadata, parse_keep_forever, parse_metadata
from .multipart import split
from .oauth import TokenServer
from .uploads import Session, Sessions
from .wire import Request, Response

MULTIPART_ADVICE = 5 * 2**20
MAX_IDS = 1000


@dataclass(frozen=True)
class Call:
    """One authenticated call."""

    request: Request
    kind: Kind
    caller: Caller

    @property
    def query(self) -> dict[str, str]:
        return self.request.query

    @property
    def all_drives(self) -> bool:
        return params_all_drives(self.request.query)

    def mask(self, schema: str) -> Mask:
        return mask_for(self.request.query.get("fields"), schema)

    def names(self, parameter: str) -> list[str]:
        return [name for name in self.query.get(parameter, "").split(",") if name]


class Api:
    """Thread-safe: state changes under the drive's lock, hashing and waiting outside of it."""

    def __init__(
        self,
        drive: Drive,
        tokens: TokenServer,
        log: RequestLog,
        root_url: Callable[[], str],
    ) -> None:
        self._drive = drive
        self._tokens = tokens
        self._log = log
        self._root_url = root_url
        self._behaviour: Behaviour = drive.behaviour
        self._clock: Clock = drive.clock
        self.limits = Limits(self._behaviour, self._clock)
        self.lister = Lister(drive)
        self.sessions = Sessions(self._behaviour, self._clock, self._finish, log.violation)
        self._methods: Mapping[str, Callable[[Call], Response]] = {
            "about.get": self._about,
            "files.get": self._get,
            "files.get.media": self._get_media,
            "files.list": self._list,
            "files.create": self._create,
            "files.create.multipart": self._create_with_bytes,
            "files.create.media": self._create_with_bytes,
            "files.update": self._update,
            "files.update.multipart": self._update_with_bytes,
            "files.update.media": self._update_with_bytes,
            "files.delete": self._delete,
            "files.copy": self._copy,
            "files.emptyTrash": self._empty_trash,
            "files.generateIds": self._generate_ids,
            "upload.start": self._start_upload,
            "changes.getStartPageToken": self._start_token,
            "changes.list": self._changes,
            "revisions.list": self._revisions,
            "revisions.get": self._revision,
            "revisions.get.media": self._revision_media,
            "revisions.update": self._update_revision,
            "revisions.delete": self._delete_revision,
            "drives.list": self._drives,
            "drives.get": self._shared_drive,
        }

    def handle(self, request: Request, kind: Kind) -> tuple[Response, str]:
        """The answer, and the client id that asked (empty when nobody could be told)."""
        client = ""
        try:
            if kind.name.startswith("upload.") and kind.name != "upload.start":
                return self._session(request, kind), client
            caller = self._tokens.caller(request)
            client = caller.client_id
            self.limits.charge(kind.units)
            method = self._methods.get(kind.name, self._unknown)
            return method(Call(request, kind, caller)), client
        except ApiError as error:
            return error.response(), client

    def keep_partial(self, request: Request, kind: Kind) -> None:
        """What a cut connection leaves behind: the aligned part of an upload's chunk."""
        if kind.name != "upload.chunk":
            return
        try:
            self.sessions.receive(request)
        except ApiError:
            # Nobody is there to hear the refusal.
            return

    # --- files ---

    def _about(self, call: Call) -> Response:
        if not call.query.get("fields"):
            message = "The 'fields' parameter is required for this method."
            raise ApiError("required", message, status=400, parameter="fields")
        mask = call.mask("About")
        limit = self._behaviour.storage_limit
        with self._drive.lock:
            used = self._drive.usage
        quota = {"usage": str(used), "usageInDrive": str(used), "usageInDriveTrash": "0"}
        if limit is not None:
            quota["limit"] = str(limit)
        about = {
            "kind": "drive#about",
            "user": dict(ME),
            "storageQuota": quota,
            "canCreateDrives": False,
            "maxUploadSize": str(5 * 2**40),
        }
        return Response.json(pick(about, mask))

    def _get(self, call: Call) -> Response:
        mask = call.mask("File")
        with self._drive.lock:
            return self._file(call.caller, self._item(call), mask)

    def _get_media(self, call: Call) -> Response:
        with self._drive.lock:
            item = self._item(call)
            content, mime_type = item.content, item.mime_type
        return download(content, mime_type, call.request.headers.get("range"))

    def _list(self, call: Call) -> Response:
        mask = call.mask("FileList")
        with self._drive.lock:
            answer = self.lister.files(call.caller, call.query)
        for note in answer.notes:
            self._log.violation(note)
        return self._page(answer.body, mask, call)

    def _page(self, body: dict[str, Any], mask: Mask, call: Call) -> Response:
        if "nextPageToken" in body and mask and "nextPageToken" not in mask:
            self._log.violation(f"{call.kind.name} was cut silently: fields lack nextPageToken")
        return Response.json(pick(body, mask))

    def _create(self, call: Call) -> Response:
        self._expect_json(call.request)
        meta = self._metadata(call.request.body, creating=True)
        return self._make(call, meta, None)

    def _create_with_bytes(self, call: Call) -> Response:
        meta, content = self._media_body(call, creating=True)
        self.limits.upload(content.size)
        return self._make(call, meta, content)

    def _make(self, call: Call, meta: Metadata, content: Content | None) -> Response:
        mask = call.mask("File")
        self.limits.create()
        with self._drive.lock:
            item = self._drive.create(
                call.caller,
                meta,
                content,
                all_drives=call.all_drives,
                keep_forever=call.request.flag("keepRevisionForever"),
            )
            return self._file(call.caller, item, mask)

    def _update(self, call: Call) -> Response:
        self._expect_json(call.request)
        return self._change(call, self._metadata(call.request.body, creating=False), None)

    def _update_with_bytes(self, call: Call) -> Response:
        meta, content = self._media_body(call, creating=False)
        self.limits.upload(content.size)
        return self._change(call, meta, content)

    def _change(self, call: Call, meta: Metadata, content: Content | None) -> Response:
        mask = call.mask("File")
        with self._drive.lock:
            item = self._drive.update(
                call.caller,
                self._item(call),
                meta,
                content,
                add=call.names("addParents"),
                remove=call.names("removeParents"),
                all_drives=call.all_drives,
                keep_forever=call.request.flag("keepRevisionForever"),
            )
            return self._file(call.caller, item, mask)

    def _delete(self, call: Call) -> Response:
        with self._drive.lock:
            self._drive.delete(call.caller, self._item(call))
        return Response(204)

    def _copy(self, call: Call) -> Response:
        mask = call.mask("File")
        meta = self._metadata(call.request.body, creating=True)
        self.limits.create()
        with self._drive.lock:
            source = self._item(call)
            item = self._drive.copy(call.caller, source, meta, all_drives=call.all_drives)
            return self._file(call.caller, item, mask)

    def _empty_trash(self, call: Call) -> Response:
        with self._drive.lock:
            self._drive.empty_trash(call.caller)
        return Response(204)

    def _generate_ids(self, call: Call) -> Response:
        mask = call.mask("GeneratedIds")
        text = call.query.get("count", "10")
        if not text.isdigit() or not 1 <= int(text) <= MAX_IDS:
            raise ApiError("invalidParameter", f"Invalid value '{text}'.", parameter="count")
        with self._drive.lock:
            ids = self._drive.reserve(int(text))
        body = {"kind": "drive#generatedIds", "space": "drive", "ids": ids}
        return Response.json(pick(body, mask))

    # --- uploads ---

    def _start_upload(self, call: Call) -> Response:
        call.mask("File")
        file_id = call.kind.ids.get("file")
        meta = self._metadata(call.request.body, creating=file_id is None)
        length = call.request.headers.get("x-upload-content-length", "")
        announced = int(length) if length.isdigit() else 0
        if file_id is None:
            self.limits.create()
        self.limits.upload(announced)
        with self._drive.lock:
            if file_id is not None:
                self._drive.check_writable(call.caller, self._item(call))
            else:
                if meta.id is not None and self._behaviour.resumable_id_check == "start":
                    self._drive.check_id(meta.id)
                self._drive.check_create(call.caller, meta, announced, all_drives=call.all_drives)
        session = self.sessions.start(call.caller, file_id, meta, call.request)
        where = call.request.path.lstrip("/")
        location = f"{self._root_url()}{where}?uploadType=resumable&upload_id={session.id}"
        return Response(200, {"Location": location, "X-GUploader-UploadID": session.id})

    def _session(self, request: Request, kind: Kind) -> Response:
        if "authorization" in request.headers:
            # The session's address is enough; a token that is sent must still be good.
            self._tokens.caller(request)
        if kind.name == "upload.cancel":
            return self.sessions.cancel(request.query["upload_id"])
        return self.sessions.receive(request)

    def _finish(self, session: Session, content: Content) -> Response:
        """The last byte arrived: now, and not before, the file comes to be or changes."""
        if session.total is None:
            self.limits.upload(content.size)
        meta = session.meta
        if not meta.mime_type and session.mime_type and session.file_id is None:
            meta = replace(meta, mime_type=session.mime_type)
        mask = mask_for(session.query.get("fields"), "File")
        all_drives = params_all_drives(session.query)
        keep = session.query.get("keepRevisionForever", "").lower() == "true"
        caller = session.caller
        with self._drive.lock:
            if session.file_id is None:
                item = self._drive.create(caller, meta, content, all_drives=all_drives, keep_forever=keep)
            else:
                item = self._drive.update(
                    caller,
                    self._drive.get(caller, session.file_id, all_drives=all_drives),
                    meta,
                    content,
                    add=[n for n in session.query.get("addParents", "").split(",") if n],
                    remove=[n for n in session.query.get("removeParents", "").split(",") if n],
                    all_drives=all_drives,
                    keep_forever=keep,
                )
            return self._file(caller, item, mask)

    def _media_body(self, call: Call, *, creating: bool) -> tuple[Metadata, Content]:
        request = call.request
        kind = request.headers.get("content-type", "")
        if len(request.body) > MULTIPART_ADVICE:
            self._log.violation(f"{call.kind.name} of {len(request.body)} bytes: use resumable")
        if call.kind.name.endswith(".media"):
            return Metadata(mime_type=kind or None), Content.of(request.body)
        eats = self._behaviour.lf_multipart_eats_cr
        parts = split(kind, request.body, want="multipart/related", lf_eats_cr=eats).parts
        if len(parts) != 2:
            raise ApiError("badRequest", "A multipart upload has two parts.")
        meta_part, media_part = parts
        if not meta_part.headers.get("content-type", "").startswith("application/json"):
            raise ApiError("badRequest", "The first part of an upload is application/json.")
        meta = self._metadata(meta_part.body, creating=creating)
        mime_type = media_part.headers.get("content-type")
        if creating and mime_type and not meta.mime_type:
            meta = replace(meta, mime_type=mime_type)
        return meta, Content.of(media_part.body)

    # --- changes, revisions, drives ---

    def _start_token(self, call: Call) -> Response:
        mask = call.mask("StartPageToken")
        with self._drive.lock:
            token = str(self._drive.changes.end + 1)
        return Response.json(pick({"kind": "drive#startPageToken", "startPageToken": token}, mask))

    def _changes(self, call: Call) -> Response:
        mask = call.mask("ChangeList")
        with self._drive.lock:
            answer = self.lister.changes(call.caller, call.query)
        return self._page(answer.body, mask, call)

    def _revisions(self, call: Call) -> Response:
        mask = call.mask("RevisionList")
        page_size(call.query, 200)
        with self._drive.lock:
            item = self._item(call)
            self._drive.prune(item)
            shown = [revision.as_json() for revision in item.revisions]
        return Response.json(pick({"kind": "drive#revisionList", "revisions": shown}, mask))

    def _revision_of(self, call: Call) -> tuple[Item, Revision]:
        item = self._item(call)
        self._drive.prune(item)
        wanted = call.kind.ids["revision"]
        for revision in item.revisions:
            if revision.id == wanted or (wanted == "head" and revision is item.revisions[-1]):
                return item, revision
        raise ApiError("notFound", f"Revision not found: {wanted}.", parameter="revisionId")

    def _revision(self, call: Call) -> Response:
        mask = call.mask("Revision")
        with self._drive.lock:
            return Response.json(pick(self._revision_of(call)[1].as_json(), mask))

    def _revision_media(self, call: Call) -> Response:
        with self._drive.lock:
            revision = self._revision_of(call)[1]
        header = call.request.headers.get("range")
        return download(revision.content, revision.mime_type, header)

    def _update_revision(self, call: Call) -> Response:
        mask = call.mask("Revision")
        keep = parse_keep_forever(call.request.body)
        with self._drive.lock:
            item, revision = self._revision_of(call)
            self._drive.check_writable(call.caller, item)
            revision.keep_forever = revision.keep_forever if keep is None else keep
            return Response.json(pick(revision.as_json(), mask))

    def _delete_revision(self, call: Call) -> Response:
        with self._drive.lock:
            item, revision = self._revision_of(call)
            self._drive.check_writable(call.caller, item)
            if revision is item.revisions[-1]:
                raise ApiError("revisionDeletionNotSupported")
            item.revisions.remove(revision)
        return Response(204)

    def _drives(self, call: Call) -> Response:
        mask = call.mask("DriveList")
        with self._drive.lock:
            shown = [drive.as_json() for drive in self._drive.shared.values()]
        if not call.caller.sees_all:
            raise ApiError("insufficientPermissions")
        return Response.json(pick({"kind": "drive#driveList", "drives": shown}, mask))

    def _shared_drive(self, call: Call) -> Response:
        mask = call.mask("Drive")
        with self._drive.lock:
            drive = self._drive.shared.get(call.kind.ids["drive"])
        if drive is None or not call.caller.sees_all:
            raise ApiError("notFound", f"Shared drive not found: {call.kind.ids['drive']}")
        return Response.json(pick(drive.as_json(), mask))

    def _unknown(self, call: Call) -> Response:
        self._log.violation(f"no such method: {call.request.method} {call.request.path}")
        raise ApiError("notFound", "Not Found", text="Not Found")

    # --- shared by the methods ---

    def _item(self, call: Call) -> Item:
        return self._drive.get(call.caller, call.kind.ids["file"], all_drives=call.all_drives)

    def _file(self, caller: Caller, item: Item, mask: Mask) -> Response:
        return Response.json(pick(self._drive.view(caller, item).as_json(), mask))

    def _expect_json(self, request: Request) -> None:
        kind = request.headers.get("content-type", "").split(";")[0].strip()
        if request.body and kind != "application/json":
            raise ApiError("parseError", f"This API does not support the content type {kind!r}.")

    def _metadata(self, text: bytes, *, creating: bool) -> Metadata:
        meta = parse_metadata(text, creating=creating)
        for name in meta.unknown:
            self._log.violation(f"the body names an unknown field: {name}")
        return meta
