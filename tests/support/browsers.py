"""A real browser, headless, at a site of a test's own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

CHROMIUM = shutil.which("chromium")
CHROMEDRIVER = shutil.which("chromedriver")
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--hide-scrollbars"),
)
SECONDS = 60

needs_browser = pytest.mark.skipif(
    not (CHROMIUM and CHROMEDRIVER), reason="no chromium and chromedriver in PATH"
)


class Browser:
    """A browser at a site."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        self.url = url

    def visit(self, path: str) -> None:
        self.driver.get(f"{self.url}{path}")

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        return [element.text for element in self.all(selector)]

    def follow(self, text: str) -> None:
        self.leave_by(self.driver.find_element(By.LINK_TEXT, text))

    def submit(self, **values: str) -> None:
        """Fill in the page's form and send it off."""
        for name, value in values.items():
            field = self.driver.find_element(By.NAME, name)
            field.clear()
            field.send_keys(value)
        (button,) = self.all("main [type=submit], #login-form [type=submit]")
        self.leave_by(button)

    def log_in(self, name: str, password: str, page: str) -> None:
        """Log in to the admin, and go to a page from there."""
        self.visit(f"/admin/login/?next={page}")
        self.submit(username=name, password=password)

    def resize(self, width: int, height: int = 900) -> None:
        """Have the window be of a size; narrow ones are phones'."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {
                "width": width,
                "height": height,
                "deviceScaleFactor": 1,
                "mobile": width < 600,
            },
        )

    def prefer(self, scheme: str) -> None:
        """Have the user prefer ``light`` or ``dark``."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [feature]}
        )

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition is true; fail if that takes too long."""
        WebDriverWait(self.driver, SECONDS).until(lambda _: condition())

    def leave_by(self, element: WebElement) -> None:
        """Click something that leads to another page, and wait for that."""
        self.driver.execute_script("window.isLeft = true")
        element.click()
        # In between two pages chromedriver has various errors for any question.
        WebDriverWait(
            self.driver, SECONDS, ignored_exceptions=[WebDriverException]
        ).until(_is_another_page)


def _is_another_page(driver: webdriver.Chrome) -> bool:
    return driver.execute_script(
        "return !window.isLeft && document.readyState === 'complete'"
    )


@contextmanager
def browsing(url: str, folder: Path) -> Iterator[Browser]:
    """
    Open a browser until the block ends.

    Args:
        url: Of the site.
        folder: Where it keeps what it keeps.
    """
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for option in (*OPTIONS, f"--user-data-dir={folder}"):
        options.add_argument(option)
    service = webdriver.ChromeService(CHROMEDRIVER)
    with webdriver.Chrome(options=options, service=service) as driver:
        yield Browser(driver, url)
