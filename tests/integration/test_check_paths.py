# SPDX-License-Identifier: MIT
"""weir check finds what a configuration names and the machine does not have: folders, files, users. It opens and makes
nothing. What nobody could use is an error; what this user may not do is an error only when it is known that this
user's rights are the ones that count."""

import json
import os
import subprocess

import pytest
from weir_process import slow

WEIR = os.environ.get("WEIR_BIN") or f"{os.environ['WEIR_BUILDDIR']}/weir"
MODULES = os.environ.get("WEIR_MODULE_DIR") or f"{os.environ['WEIR_BUILDDIR']}/modules/.libs"
IS_ROOT = os.geteuid() == 0


def check(tmp_path, document, *options):
    path = tmp_path / "weir.json"
    path.write_text(json.dumps(document))
    before = sorted(tmp_path.rglob("*"))
    env = {"PATH": os.environ["PATH"], "WEIR_MODULE_DIR": MODULES, "LC_ALL": "C"}
    done = subprocess.run([WEIR, "check", "--json", *options, "-c", path], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=slow(60), env=env)
    assert sorted(tmp_path.rglob("*")) == before  # nothing was made
    report = json.loads(done.stdout)
    assert done.returncode == (78 if report["errors"] else 0)
    return [(m["severity"], m["code"], m["pointer"], m["message"]) for m in report["mistakes"]]


def site(route=None, **keys):
    route = {"handle": {"respond": "x"}, **(route or {})}
    modules = ["static", "respond", "access_log", "error_pages", "accel"]
    return {"modules": modules, "servers": [{"listen": "127.0.0.1:0", "routes": [route]}], **keys}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.html").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "file.html")
    return tmp_path


MISSING = [
    ({"handle": {"static": "none"}}, {}, "E0601", "/servers/0/routes/0/handle/static", "there is no folder {}/none"),
    ({"handle": {"static": "none/deep"}}, {}, "E0601", "/servers/0/routes/0/handle/static", "there is no folder {}/none"),
    ({"handle": {"static": "file.html"}}, {}, "E0602", "/servers/0/routes/0/handle/static",
     "{}/file.html is a file, no folder"),
    ({"use": {"accel": {"roots": ["folder", "none"]}}}, {}, "E0601", "/servers/0/routes/0/use/accel/roots/1",
     "there is no folder {}/none"),
    ({"use": {"error_pages": {"404": "none.html"}}}, {}, "E0601", "/servers/0/routes/0/use/error_pages/404",
     "there is no file {}/none.html"),
    ({"use": {"access_log": "none/a.log"}}, {}, "E0601", "/servers/0/routes/0/use/access_log", "there is no folder {}/none"),
    ({"use": {"access_log": "folder"}}, {}, "E0602", "/servers/0/routes/0/use/access_log", "{}/folder is a folder, no file"),
    ({"use": {"access_log": "link"}}, {}, "E0602", "/servers/0/routes/0/use/access_log",
     "{}/link is a symbolic link, which is not followed"),
    ({}, {"log": {"file": "none/error.log"}}, "E0601", "/log/file", "there is no folder {}/none"),
    ({}, {"workers": {"temp_dir": "none"}}, "E0601", "/workers/temp_dir", "there is no folder {}/none"),
    ({}, {"workers": {"temp_dir": "file.html"}}, "E0602", "/workers/temp_dir", "{}/file.html is a file, no folder"),
    # The server makes the folder of the control socket, but not the one above.
    ({}, {"control": {"listen": "unix:none/none/s"}}, "E0601", "/control/listen", "there is no folder {}/none"),
    ({}, {"control": {"listen": "unix:file.html"}}, "E0602", "/control/listen", "{}/file.html is there, and no socket"),
    ({}, {"listeners": {"a": {"address": "unix:none/s"}}}, "E0601", "/listeners/a/address", "there is no folder {}/none"),
    ({}, {"workers": {"user": "nobody-of-that-name"}}, "E0604", "/workers/user",
     'there is no user "nobody-of-that-name" on this system'),
    ({}, {"workers": {"user": "nobody", "group": "none-of-that-name"}}, "E0604", "/workers/group",
     'there is no group "none-of-that-name" on this system'),
]


@pytest.mark.parametrize("route, keys, code, pointer, message", MISSING, ids=str)
def test_what_is_not_there_is_an_error(folder, route, keys, code, pointer, message):
    document = site(route, **keys)
    assert check(folder, document) == [("error", code, pointer, message.format(folder))]
    assert check(folder, document, "--text-only") == []


def test_what_is_there_is_no_mistake(folder):
    keys = {"log": {"file": "new.log"}, "workers": {"temp_dir": "folder"}, "control": {"listen": "unix:new/s"},
            "listeners": {"a": {"address": "unix:folder/s"}}}
    uses = [{"access_log": "file.html"}, {"error_pages": {"404": ["file.html"]}}, {"accel": {"roots": ["."]}}]
    assert check(folder, site({"use": uses, "handle": {"static": "folder"}}, **keys)) == []
    assert check(folder, site({"use": {"access_log": "stdout"}})) == []


def forbidden(folder):
    """A folder that user nobody may not use."""
    folder.chmod(0o755)
    for above in folder.parents:
        if above.stat().st_uid == os.geteuid() and above.stat().st_mode & 0o005 != 0o005:
            above.chmod(0o755)
    (folder / "folder" / "inner").mkdir()
    (folder / "folder").chmod(0)
    return folder


FORBIDDEN = [
    ({"handle": {"static": "folder"}}, {}, "/servers/0/routes/0/handle/static", "may not read {}/folder"),
    ({"handle": {"static": "folder/inner"}}, {}, "/servers/0/routes/0/handle/static", "may not go into the folder {}/folder"),
    ({"use": {"error_pages": {"404": "folder/x.html"}}}, {}, "/servers/0/routes/0/use/error_pages/404",
     "may not go into the folder {}/folder"),
    ({}, {"workers": {"temp_dir": "folder"}}, "/workers/temp_dir", "may not write to {}/folder"),
]


@pytest.mark.parametrize("route, keys, pointer, message", FORBIDDEN, ids=str)
def test_what_workers_may_not_use_is_found(folder, route, keys, pointer, message):
    """As root the rights of workers.user count, and are known."""
    keys = {"workers": {**keys.get("workers", {}), **({"user": "nobody"} if IS_ROOT else {})}}
    message = ('user "nobody" ' if IS_ROOT else f"user {os.geteuid()}, who checks this, ") + message.format(folder)
    found = check(forbidden(folder), site(route, **keys))
    (folder / "folder").chmod(0o700)
    assert found == [("error" if IS_ROOT else "warning", "E0603", pointer, message)]


@pytest.mark.skipif(IS_ROOT, reason="root may do everything")
@pytest.mark.parametrize("keys, pointer", [
    ({"log": {"file": "folder/error.log"}}, "/log/file"),
    ({"control": {"listen": "unix:folder/s"}}, "/control/listen"),
    ({"listeners": {"a": {"address": "unix:folder/s"}}}, "/listeners/a/address"),
], ids=str)
def test_what_the_master_may_not_do_is_a_warning(folder, keys, pointer):
    (folder / "folder").chmod(0o500)
    message = f"user {os.geteuid()}, who checks this, may not write to {folder}/folder"
    found = check(folder, site(**keys))
    (folder / "folder").chmod(0o700)
    assert found == [("warning", "E0603", pointer, message)]


def test_the_preset_of_temp_dir_counts_where_bodies_are_kept(folder):
    """/var/tmp is there on every system that has a shell."""
    assert check(folder, site(defaults={"limits": {"body_buffer": "1m"}})) == []
