// The line over the picture follows the player, and the player a click or a
// key. Files that are dropped anywhere go to the button that takes files.
const song = () => document.querySelector('#song audio');
const picture = () => document.querySelector('.mgc-picture');
const clock = (s) =>
  `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, '0')}`;

// The genre of the last window that starts before a time.
const genreAt = (element, time) => {
  const starts = JSON.parse(element.dataset.genres);
  let found = starts[0][1];
  for (const [start, text] of starts) {
    if (start <= time) found = text;
  }
  return found;
};

let shown = null;
const follow = () => {
  const player = song(), element = picture();
  for (const audio of document.querySelectorAll('audio:not([aria-label])')) {
    const isSong = audio.closest('#song');
    audio.setAttribute('aria-label', isSong ? 'Song' : 'Similar song');
  }
  if (player && element && player.duration) {
    const time = player.currentTime;
    document.querySelector('.mgc-cursor').style.left =
      `${(100 * time) / player.duration}%`;
    const text = `${clock(time)}: ${genreAt(element, time)}`;
    if (text !== shown || !element.hasAttribute('aria-valuetext')) {
      shown = text;
      document.querySelector('.mgc-now').textContent = text;
      element.setAttribute('aria-valuenow', Math.floor(time));
      element.setAttribute('aria-valuetext', text);
    }
  }
  requestAnimationFrame(follow);
};
requestAnimationFrame(follow);

const seek = (time) => {
  const player = song();
  if (player && player.duration) {
    player.currentTime = Math.max(0, Math.min(player.duration, time));
  }
};
document.addEventListener('click', (event) => {
  const element = event.target.closest('.mgc-picture');
  if (element && song()) {
    const box = element.getBoundingClientRect();
    seek(((event.clientX - box.left) / box.width) * song().duration);
  }
});
document.addEventListener('keydown', (event) => {
  if (!event.target.closest?.('.mgc-picture') || !song()) return;
  const { currentTime, duration } = song();
  const times = {
    ArrowLeft: currentTime - 5,
    ArrowDown: currentTime - 5,
    ArrowRight: currentTime + 5,
    ArrowUp: currentTime + 5,
    Home: 0,
    End: duration,
  };
  if (event.key in times) {
    seek(times[event.key]);
    event.preventDefault();
  }
});

const hasFiles = (event) => event.dataTransfer?.types.includes('Files');
document.addEventListener('dragover', (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  document.body.classList.add('mgc-dropping');
}, true);
document.addEventListener('dragleave', (event) => {
  if (!event.relatedTarget) document.body.classList.remove('mgc-dropping');
}, true);
document.addEventListener('drop', (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  event.stopPropagation();
  document.body.classList.remove('mgc-dropping');
  const input = document.querySelector('input[type=file][multiple]');
  input.files = event.dataTransfer.files;
  input.dispatchEvent(new Event('change', { bubbles: true }));
}, true);
