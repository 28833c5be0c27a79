// Holds the end of the thread in view while the reader is there, and nowhere else.
const NEAR_PX = 60;
const NOISE_PX = 2;

export class End {
  constructor(place, button) {
    this.place = place;
    this.button = button;
    this.isHeld = true;
    this.top = 0;
    this.height = 0;
    place.addEventListener("scroll", () => this.look(), { passive: true });
    button.addEventListener("click", () => {
      this.go();
      place.focus();
    });
    this.sizes = new ResizeObserver(() => this.keep());
    this.sizes.observe(place);
  }

  // The last message: what it becomes in height is followed.
  watch(node) {
    if (this.watched) this.sizes.unobserve(this.watched);
    this.watched = node;
    this.sizes.observe(node);
  }

  // Only who scrolls up lets the end go; text that grows or shrinks elsewhere does not.
  look() {
    const { scrollHeight, scrollTop, clientHeight } = this.place;
    const isNear = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    const isUp = scrollTop < this.top - NOISE_PX && scrollHeight >= this.height;
    this.top = scrollTop;
    this.height = scrollHeight;
    if (isNear) this.isHeld = true;
    else if (isUp) this.isHeld = false;
    else if (this.isHeld) this.keep();
    this.button.hidden = isNear || this.isHeld;
  }

  keep() {
    if (!this.isHeld) {
      this.button.hidden = false;
      return;
    }
    this.place.scrollTop = this.place.scrollHeight;
    this.top = this.place.scrollTop;
    this.height = this.place.scrollHeight;
  }

  go() {
    this.isHeld = true;
    this.button.hidden = true;
    this.keep();
  }
}
