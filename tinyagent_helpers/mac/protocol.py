"""What any Mac, simulated or real, can do for the assistant.

The signatures and docstrings below are the single source of the sixteen tools: the text the planner reads, the OpenAI
schema and the checks on a plan's arguments are all derived from them (see `tinyagent_helpers.tools`). The set is the one
of the TinyAgent blog post (Berkeley, 29 May 2024).
"""

from typing import Annotated, Literal, Protocol

FREE_TEXT = "free text"
DATE = "date"
Text = Annotated[str, FREE_TEXT]  # words the assistant may phrase in more than one way
Date = Annotated[str, DATE]  # "YYYY-MM-DD HH:MM:SS", or "" where a date may be left out
Transport = Literal["d", "w", "r"]  # drive, walk, ride (public transport)


class ToolError(Exception):
    """A tool could not do its work. The message tells the joiner what was wrong and what could be tried; `suggestion` is the one
    name that is spelled like what was looked up, if there is just one."""

    def __init__(self, message: str, suggestion: str = ""):
        super().__init__(message)
        self.suggestion = suggestion


class Mac(Protocol):
    """Sixteen things the assistant can do. Every method returns one line of text, or raises `ToolError`."""

    def get_phone_number(self, name: str) -> str:
        """Look up a contact's phone number.

        Args:
            name: The contact's name, or who they are to the user, such as "boss".
        """

    def get_email_address(self, name: str) -> str:
        """Look up a contact's e-mail address.

        Args:
            name: The contact's name, or who they are to the user, such as "boss".
        """

    def create_calendar_event(
        self,
        title: Text,
        start_date: Date,
        end_date: Date,
        location: str,
        invitees: list[str],
        notes: Text,
        calendar: str,
    ) -> str:
        """Create a calendar event.

        Args:
            title: What the event is called.
            start_date: When it starts, "YYYY-MM-DD HH:MM:SS".
            end_date: When it ends, one hour after the start unless the user says otherwise.
            location: Where it takes place, or "".
            invitees: E-mail addresses of the people invited, or [].
            notes: Anything to keep with the event, such as a link, or "".
            calendar: The calendar to use, or "" for the default one.
        """

    def open_and_get_file_path(self, file_name: str) -> str:
        """Open a file and return its path.

        Args:
            file_name: The file's name, or the part of it that the user said.
        """

    def summarize_pdf(self, pdf_path: str) -> str:
        """Summarize a PDF file.

        Args:
            pdf_path: The file's path, as open_and_get_file_path returns it.
        """

    def compose_new_email(
        self, recipients: list[str], cc: list[str], subject: Text, context: Text, attachments: list[str]
    ) -> str:
        """Write a new e-mail and send it.

        Args:
            recipients: E-mail addresses.
            cc: E-mail addresses that get a copy, or [].
            subject: What the e-mail is about, or "".
            context: What the e-mail should say; another step's result may be used.
            attachments: Paths of files to attach, or [].
        """

    def reply_to_email(self, cc: list[str], context: Text, attachments: list[str]) -> str:
        """Reply to the e-mail that is selected in Mail.

        Args:
            cc: E-mail addresses that get a copy, or [].
            context: What the reply should say.
            attachments: Paths of files to attach, or [].
        """

    def forward_email(self, recipients: list[str], cc: list[str], context: Text, attachments: list[str]) -> str:
        """Forward the e-mail that is selected in Mail.

        Args:
            recipients: E-mail addresses.
            cc: E-mail addresses that get a copy, or [].
            context: What to say above the forwarded e-mail, or "".
            attachments: Paths of files to attach, or [].
        """

    def maps_open_location(self, location: str) -> str:
        """Show a place in Maps and return its URL.

        Args:
            location: An address, or the name of a place.
        """

    def maps_show_directions(self, start_location: str, end_location: str, transport: Transport) -> str:
        """Show directions in Maps and return their URL.

        Args:
            start_location: Where to start, or "" for the user's current place.
            end_location: Where to go.
            transport: "d" to drive, "w" to walk, "r" to ride public transport; "d" unless the user says otherwise.
        """

    def create_note(self, name: Text, content: Text, folder: str) -> str:
        """Create a note.

        Args:
            name: The note's title.
            content: The note's text, or "".
            folder: The folder to put it in, or "".
        """

    def open_note(self, name: str, folder: str) -> str:
        """Open a note.

        Args:
            name: The note's title.
            folder: The folder it is in, or "".
        """

    def append_note_content(self, name: str, content: Text, folder: str) -> str:
        """Add text to the end of a note.

        Args:
            name: The note's title.
            content: The text to add.
            folder: The folder it is in, or "".
        """

    def create_reminder(
        self, name: Text, due_date: Date, notes: Text, list_name: str, priority: int, all_day: bool
    ) -> str:
        """Create a reminder.

        Args:
            name: What to be reminded of.
            due_date: When, "YYYY-MM-DD HH:MM:SS", or "" if the user gave no date.
            notes: Anything to keep with the reminder, or "".
            list_name: The list to put it in, or "".
            priority: 0 for none, 1 for high, 5 for medium, 9 for low.
            all_day: True if the user gave a day but no time.
        """

    def send_sms(self, recipients: list[str], message: Text) -> str:
        """Send a text message.

        Args:
            recipients: Phone numbers; everybody in one call.
            message: What to say.
        """

    def get_zoom_meeting_link(self, topic: Text, start_time: Date, duration: int, meeting_invitees: list[str]) -> str:
        """Create a Zoom meeting and return its link.

        Args:
            topic: What the meeting is about.
            start_time: When it starts, "YYYY-MM-DD HH:MM:SS".
            duration: Minutes; 60 unless the user says otherwise.
            meeting_invitees: E-mail addresses, or [].
        """
