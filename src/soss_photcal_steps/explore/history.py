"""The settings one after the other, so that each action can be undone and done again."""

from __future__ import annotations

from soss_photcal_steps.explore.setting import Setting

__all__ = ["History"]

_MOST_STEPS_BACK = 500


class History:
    """Settings, and a place among them.

    Attributes
    ----------
    current : Setting
        The setting at that place.
    """

    def __init__(self) -> None:
        self._settings = [Setting()]
        self._place = 0
        self._dragging = False

    @property
    def current(self) -> Setting:
        """The setting at the present place."""
        return self._settings[self._place]

    def put(self, setting: Setting, *, dragging: bool = False) -> None:
        """Go on to a setting; what was undone before cannot be done again.

        Parameters
        ----------
        setting : Setting
            The setting; the present one makes no step.
        dragging : bool, optional
            Whether it is part of a movement, which is undone as one.
        """
        merge = self._dragging and dragging and self._place > 0
        self._dragging = dragging
        if setting == self.current:
            return
        keep = self._place if merge else self._place + 1
        self._settings = [*self._settings[:keep], setting][-_MOST_STEPS_BACK:]
        self._place = len(self._settings) - 1

    def end_drag(self) -> None:
        """Say that a movement has ended."""
        self._dragging = False

    def go(self, steps: int) -> bool:
        """Go back, or forth again.

        Parameters
        ----------
        steps : int
            -1 to undo, 1 to do again.

        Returns
        -------
        bool
            Whether there was a setting to go to.
        """
        self._dragging = False
        place = self._place + steps
        if not 0 <= place < len(self._settings):
            return False
        self._place = place
        return True
