// A page about one victim and defense, or one attack: draws the figures that the page names.
"use strict";

window.leaderboardData.then(Figures.fromPage);
