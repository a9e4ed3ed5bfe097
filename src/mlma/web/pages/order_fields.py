"""Forms of the orders: one per kind, out of its fields.

Takes the kind of an order, gives what its form is called, what it asks, and in which words. Next is
`mlma.web.pages.order_reading`, which reads what was typed.
"""

from dataclasses import dataclass
from typing import Literal

from mlma.domain.calendar_events import EVENT_TYPES
from mlma.domain.orders import ORDERS, OnIncident, Selecting

FieldType = Literal["text", "moment", "number", "choice", "check", "hidden"]


@dataclass(frozen=True, slots=True)
class FormField:
    """A field of a form.

    choices
        value and words of each choice.
    wide
        text of several lines.
    """

    name: str
    label: str
    type: FieldType = "text"
    hint: str = ""
    required: bool = False
    choices: tuple[tuple[str, str], ...] = ()
    wide: bool = False
    default: str = ""


@dataclass(frozen=True, slots=True)
class OrderForm:
    """The form of one kind of order.

    title
        headline of the page.
    verb
        what the button does, in two words.
    about
        what it means, in a sentence.
    """

    kind: str
    title: str
    verb: str
    about: str
    fields: tuple[FormField, ...] = ()

    @property
    def selecting(self) -> bool:
        """Whether it is about streams that a selector names."""
        return issubclass(ORDERS[self.kind], Selecting) or self.kind == "event"

    @property
    def on_incident(self) -> bool:
        """Whether it is about an incident."""
        return issubclass(ORDERS[self.kind], OnIncident)


LABEL_WORDS = {
    "one_off": "one-off",
    "real_shift": "real shift",
    "broken": "broken data",
    "none": "no label",
}
COUNT_WORDS = {
    "excluded": "for nothing: no evidence, no reference, no training",
    "matched": "compared with the last event of the same name",
    "usual": "as on any other day",
}

_UNTIL = FormField("until", "Until", "moment", "Empty: until somebody ends it.")
_BEGINS = FormField("begins", "Begins", "moment", required=True)
_ENDS = FormField("ends", "Ends", "moment", "The first moment after it.", required=True)
_CYCLE = FormField("cycle", "Cycle", "number", "Number of the cycle.", required=True)
_INCIDENT = (FormField("incident", "Incident", "hidden"), FormField("seen", "Seen", "hidden"))
_EVENT = (
    FormField("id", "Id", "hidden"),
    FormField(
        "name", "Name", hint="Such as Easter; events of one name can be compared with each other."
    ),
    FormField("type", "Type", "choice", choices=tuple((one, one) for one in EVENT_TYPES)),
    _BEGINS,
    _ENDS,
    FormField("counts", "Its batches count", "choice", choices=tuple(COUNT_WORDS.items())),
    FormField("mute", "Mute: no re-training and no incident while it lasts", "check", default="1"),
    FormField("overlap", "It may overlap another event of the same streams", "check"),
)
_LABEL = (
    _BEGINS,
    _ENDS,
    FormField(
        "label",
        "They were",
        "choice",
        "One-off and broken batches leave reference and training; a real shift is the new normal.",
        choices=tuple(LABEL_WORDS.items()),
    ),
    FormField("revision", "Revisions", "hidden"),
)
_VERDICTS = (("healthy", "healthy"), ("degraded", "degraded"))

FORMS: dict[str, OrderForm] = {
    one.kind: one
    for one in (
        OrderForm(
            "retrain", "Re-train now", "Re-train", "Asks for new versions at the next cycle."
        ),
        OrderForm(
            "plan",
            "Plan a re-training",
            "Plan it",
            "Asks for new versions when the time has come.",
            (FormField("at", "When", "moment", required=True),),
        ),
        OrderForm(
            "freeze",
            "Freeze",
            "Freeze",
            "The agent re-trains nothing here; the losses are watched on.",
            (_UNTIL,),
        ),
        OrderForm("unfreeze", "Unfreeze", "Unfreeze", "The agent may re-train again."),
        OrderForm(
            "budget",
            "Budget of re-trainings",
            "Set budget",
            "At most so many re-trainings per cycle, the worst losses first.",
            (
                FormField("per_cycle", "Re-trainings per cycle", "number"),
                FormField("unlimited", "No limit", "check"),
            ),
        ),
        OrderForm(
            "event",
            "Declare an event",
            "Declare",
            "A span in which streams are not as usual: ahead or afterwards. Declaring it again "
            "changes it.",
            _EVENT,
        ),
        OrderForm(
            "cancel_event",
            "Cancel an event",
            "Cancel event",
            "Takes the event out of the calendar; what it changed is judged anew.",
            (FormField("event", "Event", "choice", required=True),),
        ),
        OrderForm(
            "pin", "Pin the version", "Pin", "The live version stays, whatever the losses do."
        ),
        OrderForm("unpin", "Unpin", "Unpin", "The version may be replaced again."),
        OrderForm(
            "policy",
            "Switch the policy",
            "Switch policy",
            "These streams are decided by another policy from the next cycle on.",
            (
                FormField(
                    "policy",
                    "Policy",
                    hint="As in mlma.toml, such as mlma(level=0.001). Empty: that of the fleet "
                    "again.",
                    wide=True,
                ),
            ),
        ),
        OrderForm(
            "roll_back",
            "Roll back",
            "Roll back",
            "Model and reference go back together to a former version.",
            (FormField("version", "Version", "number", "Empty: the one before."),),
        ),
        OrderForm(
            "label",
            "Label batches",
            "Label",
            "Says what batches were; what followed them is judged anew.",
            _LABEL,
        ),
        OrderForm(
            "overrule",
            "Overrule a verdict",
            "Overrule",
            "Says what the batch was, against the agent; what followed is judged anew.",
            (
                _CYCLE,
                FormField("verdict", "It was", "choice", choices=_VERDICTS),
                FormField("revision", "Revision", "hidden"),
            ),
        ),
        OrderForm(
            "rejudge",
            "Judge a cycle anew",
            "Judge anew",
            "Opens the batches of a cycle again, from the rows that are there now.",
            (_CYCLE,),
        ),
        OrderForm(
            "undo",
            "Undo an action",
            "Undo",
            "Takes the action back, as if it had never been.",
            (FormField("action", "Action", "number", "Number in the audit.", required=True),),
        ),
        OrderForm("acknowledge", "Acknowledge", "Acknowledge", "You are at it.", _INCIDENT),
        OrderForm(
            "snooze",
            "Snooze",
            "Snooze",
            "Puts the incident aside until a time.",
            (*_INCIDENT, FormField("until", "Until", "moment", required=True)),
        ),
        OrderForm("resolve", "Resolve", "Resolve", "It is done with.", _INCIDENT),
        OrderForm("reopen", "Open again", "Open again", "It is not done with.", _INCIDENT),
        OrderForm("confirm", "Confirm the alarm", "Confirm", "The alarm was right.", _INCIDENT),
        OrderForm("deny", "Deny the alarm", "Deny", "The alarm was false.", _INCIDENT),
    )
}
SELECTOR_FIELDS = ("tag", "search", "unique_id", "everything")
