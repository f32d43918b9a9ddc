"""A Prefect block that sends mail by SMTP, in plain text: Prefect itself ships none but SendGrid's.

Type `smtp-mail`. `prefect block register -m tasks.smtp_mail` makes it known to a Prefect server; the platform does so.
"""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Literal

from prefect.blocks.abstract import NotificationBlock
from pydantic import Field, SecretStr

from footprint.text import clean

SECONDS = 10.0
"""For each step of the conversation with the mail server."""
MOST_RECIPIENTS = 50


class SmtpMail(NotificationBlock):
    """Sends notifications by mail, through an SMTP server."""

    _block_type_name = "SMTP Mail"
    _block_type_slug = "smtp-mail"
    _description = "Sends notifications as plain-text mail through an SMTP server."

    host: str = Field(default="localhost", description="The mail server.")
    port: int = Field(default=587, ge=1, le=65535, description="587 with STARTTLS, 465 with TLS, 25 in the clear.")
    encryption: Literal["starttls", "tls", "none"] = Field(default="starttls", description="How it is spoken to.")
    username: str | None = Field(default=None, description="Empty where the server asks for none.")
    password: SecretStr | None = Field(default=None, description="Its password; it is never sent in the clear.")
    sender: str = Field(description="Address that the mail is from.", examples=["pulsar@example.com"])
    to: list[str] = Field(description="Addresses it goes to.", max_length=MOST_RECIPIENTS)

    async def notify(self, body: str, subject: str | None = None) -> None:
        """Send one mail. Raises what smtplib raises, whether or not the block is to raise."""
        await asyncio.to_thread(self.send, self.mail(body, subject or ""))

    def mail(self, body: str, subject: str, event_id: str | None = None) -> EmailMessage:
        """A mail of plain text. Header values are one line each, whatever is in them."""
        mail = EmailMessage()
        mail["Subject"] = clean(subject)
        mail["From"] = clean(self.sender)
        mail["To"] = ", ".join(map(clean, self.to))
        mail["Date"] = formatdate()
        mail["Message-ID"] = f"<{event_id}@pulsar.invalid>" if event_id else make_msgid(domain="pulsar.invalid")
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(body)
        return mail

    def send(self, mail: EmailMessage) -> None:
        """Hand one mail to the server. Raises `OSError`, of which smtplib's errors are."""
        trust = ssl.create_default_context()
        with self._connected(trust) as server:
            if self.encryption == "starttls":
                server.starttls(context=trust)
            if self.username and self.encryption != "none":
                server.login(self.username, self.password.get_secret_value() if self.password else "")
            server.send_message(mail)

    def _connected(self, trust: ssl.SSLContext) -> smtplib.SMTP:
        if self.encryption == "tls":
            return smtplib.SMTP_SSL(self.host, self.port, timeout=SECONDS, context=trust)
        return smtplib.SMTP(self.host, self.port, timeout=SECONDS)
