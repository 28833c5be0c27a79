// Holds the end of the thread in view while the reader is there, and nowhere else.
const NEAR_PX = 60;

export class End {
  constructor(place, button) {
    this.place = place;
    this.button = button;
    this.isHeld = true;
    place.addEventListener("scroll", () => this.look(), { passive: true });
    button.addEventListener("click", () => {
      this.go();
      place.focus();
    });
    new ResizeObserver(() => this.keep()).observe(place);
  }

  look() {
    const { scrollHeight, scrollTop, clientHeight } = this.place;
    this.isHeld = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    this.button.hidden = this.isHeld;
  }

  keep() {
    if (this.isHeld) this.place.scrollTop = this.place.scrollHeight;
    else this.button.hidden = false;
  }

  go() {
    this.isHeld = true;
    this.button.hidden = true;
    this.place.scrollTop = this.place.scrollHeight;
  }
}
