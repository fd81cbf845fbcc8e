"""The first notebook in a real JupyterLab in headless Chromium, on the virtual board: the raster is on the screen.

`make test-browser` runs this; it leaves the screenshot in build/browser-raster.png. Needs chromium and chromedriver on the PATH.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("selenium", reason="selenium is not installed: make test-browser runs this")
pytest.importorskip("jupyterlab", reason="JupyterLab is not installed: make test-browser runs this")
pytest.importorskip("pynq.remote", reason="pynq 3.1 or newer is not installed: make test-browser runs this")

from matplotlib.image import imread
from selenium import webdriver
from selenium.common.exceptions import ElementClickInterceptedException, StaleElementReferenceException, TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.pynq.bench import ARRAY, BOARD
from tests.served import ROOT, notebook_folder, virtual_board

pytestmark = pytest.mark.skipif(shutil.which("chromium") is None or shutil.which("chromedriver") is None,
                                reason="chromium or chromedriver is not installed: make test-browser installs both")

NOTEBOOK = "01_first_steps.ipynb"
SCREENSHOT = ROOT / "build" / "browser-raster.png"
#: Seconds for a page, and for the notebook's cells.
PAGE, CELLS = 90, 180
#: Where JupyterLab keeps what it remembers; a folder of its own in place of the user's.
_FOLDERS = ("JUPYTER_CONFIG_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
#: Seconds for the first cell to start, and how often it is tried: what is chosen before the kernel is connected is forgotten.
STARTED, TRIES = 10, 6
#: The numbers beside the cells of code.
PROMPTS = ".jp-CodeCell .jp-InputPrompt"
#: Below this a pixel is dark: a spike, or a letter.
DARK = 0.4


@contextmanager
def jupyterlab(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """JupyterLab in a folder; gives the notebook's address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token, log, settings = secrets.token_hex(16), folder.parent / "jupyterlab.log", folder.parent / "settings"
    (settings / "labconfig").mkdir(parents=True)  # in place of the user's own; without JupyterLab's question about its news
    (settings / "labconfig" / "page_config.json").write_text(
        json.dumps({"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}))
    with log.open("w") as file:
        variables = os.environ | environment | dict.fromkeys(_FOLDERS, str(settings))
        server = subprocess.Popen([sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
                                   f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"], cwd=folder, env=variables,
                                  stdout=file, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + PAGE
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/lab/tree/{NOTEBOOK}?token={token}"
    finally:
        server.terminate()
        server.wait(30)


@contextmanager
def browser() -> Iterator[webdriver.Chrome]:
    """Headless Chromium."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1280,1400"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(shutil.which("chromedriver"))))
    try:
        yield driver
    finally:
        driver.quit()


def run_all_cells(page: webdriver.Chrome) -> None:
    """Choose Run, Run All Cells, as a person does, and again if nothing happens."""
    wait = WebDriverWait(page, PAGE)
    wait.until(lambda one: one.find_elements(By.CSS_SELECTOR, ".jp-NotebookPanel .jp-Cell"))
    wait.until(lambda one: one.find_elements(By.CSS_SELECTOR, ".jp-Notebook-ExecutionIndicator[data-status='idle']"))
    wait.until(lambda one: not one.find_elements(By.ID, "jupyterlab-splash"))
    for _ in range(TRIES):
        with contextlib.suppress(TimeoutException, ElementClickInterceptedException, StaleElementReferenceException):  # still loading
            page.find_element(By.CSS_SELECTOR, ".jp-NotebookPanel .jp-Cell").click()  # the menu acts on what has the focus
            page.find_element(By.XPATH, "//div[contains(@class, 'lm-MenuBar-itemLabel')][text()='Run']").click()
            wait.until(lambda one: one.find_elements(By.CSS_SELECTOR, ".lm-Menu-item[data-command='runmenu:run-all']"))[0].click()
            WebDriverWait(page, STARTED).until(lambda one: any(prompt != "[ ]:" for prompt in texts(one, PROMPTS)))
            return
        page.find_element(By.TAG_NAME, "body").send_keys(Keys.ESCAPE)  # closes the menu
    raise AssertionError("JupyterLab runs no cell")


def texts(page: webdriver.Chrome, selector: str) -> list[str]:
    """Text of the elements, also of those that are scrolled out of sight."""
    found = page.execute_script("return Array.from(document.querySelectorAll(arguments[0]), one => one.textContent)", selector)
    return [str(text) for text in found]


def picture(page: webdriver.Chrome) -> WebElement:
    """The one picture among the outputs, once every cell has run and the picture is drawn."""
    def done(one: webdriver.Chrome) -> bool:
        if failed := texts(one, ".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error']"):
            raise AssertionError(f"A cell failed: {failed[0]}")
        prompts = texts(one, PROMPTS)
        return bool(prompts) and all(re.fullmatch(r"\[\d+\]:", prompt) for prompt in prompts)
    try:
        WebDriverWait(page, CELLS).until(done)
    except TimeoutException:
        raise AssertionError("Not all cells have run. Prompts and outputs: "
                             f"{texts(page, f'{PROMPTS}, .jp-OutputArea-output')}") from None
    (output,) = page.find_elements(By.CSS_SELECTOR, ".jp-OutputArea-output[data-mime-type='image/png']")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", output)
    (image,) = WebDriverWait(page, PAGE).until(lambda one: output.find_elements(By.CSS_SELECTOR, "img"))
    WebDriverWait(page, PAGE).until(lambda one: one.execute_script("return arguments[0].complete && arguments[0].naturalWidth > 0", image))
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", image)
    time.sleep(1)  # JupyterLab's own scrolling
    return image


def pixels(png: bytes) -> Any:
    """Grey values, 0 to 1, (rows, columns), of a PNG."""
    return imread(io.BytesIO(png))[..., :3].mean(axis=-1)


def test_the_raster_is_shown_in_jupyterlab(tmp_path: Path) -> None:
    folder = notebook_folder(tmp_path, BOARD.name, ARRAY)
    with virtual_board(BOARD.name) as environment, jupyterlab(folder, environment) as address, browser() as page:
        SCREENSHOT.parent.mkdir(exist_ok=True)
        page.get(address)
        try:
            run_all_cells(page)
            image = picture(page)
        finally:
            assert page.save_screenshot(str(SCREENSHOT))  # also of what went wrong
        assert image.is_displayed()
        shown = pixels(image.screenshot_as_png)
        drawn = pixels(base64.b64decode(image.get_attribute("src").partition("base64,")[2]))
        said = "".join(texts(page, ".jp-OutputArea-output"))
    assert "420,120 values compared, all equal to the golden model's" in said
    screen = pixels(SCREENSHOT.read_bytes())
    print(f"{SCREENSHOT.name}: {screen.shape[1]} × {screen.shape[0]}, raster {shown.shape[1]} × {shown.shape[0]}")
    assert screen.std() > 0.05, "the screenshot is blank"
    for one in (drawn, shown):
        assert 0.002 < np.mean(one < DARK) < 0.3, "spikes are dark on white"
    # What is on the screen is the picture that matplotlib drew: as dark in each of 8 × 8 parts.
    np.testing.assert_allclose(parts(shown), parts(drawn), atol=0.05)


def parts(picture: Any) -> Any:
    """Mean grey of 8 × 8 parts."""
    return np.array([[part.mean() for part in np.array_split(row, 8, axis=1)] for row in np.array_split(picture, 8, axis=0)])
