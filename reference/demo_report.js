// The charts follow the film, and a click on a chart moves the film.
(() => {
  const film = document.querySelector("video");
  const charts = [...document.querySelectorAll("svg[data-seconds]")];
  if (!film) return;
  const follow = () => {
    for (const chart of charts) {
      const { left, right, seconds } = chart.dataset;
      const x = +left + (right - left) * Math.min(1, film.currentTime / seconds);
      const cursor = chart.querySelector(".cursor");
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
      cursor.style.opacity = film.currentTime > 0 ? 0.8 : 0;
    }
    if (!film.paused) requestAnimationFrame(follow);
  };
  film.addEventListener("play", follow);
  film.addEventListener("seeking", follow);
  for (const chart of charts) {
    chart.addEventListener("click", (event) => {
      const { left, right, seconds } = chart.dataset;
      const box = chart.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * chart.viewBox.baseVal.width;
      film.currentTime = Math.max(0, Math.min(+seconds, ((x - left) / (right - left)) * seconds));
    });
  }
})();
