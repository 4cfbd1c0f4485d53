# The demo's picture: guest clock less true time, over true time, a panel for each KVM.
#
#   gnuplot -e 'dir = "out/demo"' -e 'kvms = "stock ours"' lab/demo/plot.gp

# Columns of demo.tsv, of which cell() fetches one.
STOPPED = 7; GAIN = 9; BOUND = 10; LARGEST = 11; COUNT = 12; READINGS = 16; START = 18; END = 19
fetch = "awk -F'\t' '$1 == \"%s\" && $2 == %d { print $%d }' %s/demo.tsv"
cell(kvm, hop, column) = real(system(sprintf(fetch, kvm, hop, column, dir)))
curve(kvm) = dir . "/" . kvm . "/curve.tsv"
after = "awk '$1 >= %f { print $2; exit }' %s"
level(kvm, time) = real(system(sprintf(after, time, curve(kvm))))

name(kvm) = kvm eq "ours" ? "this project's KVM clock" : "mainline's KVM clock"
colour(kvm) = kvm eq "ours" ? "#1f6fb4" : "#c2561a"
back(count, largest) = count == 0 ? "no step back" : \
	sprintf("%.0f step%s back, the largest %.0f ns,", count, count == 1 ? "" : "s", largest)
summary(kvm) = sprintf("%s in %.0f million readings by 2 vCPUs", \
	back(cell(kvm, 1, COUNT) + cell(kvm, 2, COUNT), \
	     cell(kvm, 1, LARGEST) > cell(kvm, 2, LARGEST) ? cell(kvm, 1, LARGEST) : cell(kvm, 2, LARGEST)), \
	(cell(kvm, 1, READINGS) + cell(kvm, 2, READINGS)) / 1e6)

ink = "#333333"
soft = "#777777"
band = "#f6ead0"

set encoding utf8
set border 3 linewidth 1 linecolor rgb soft
set tics nomirror out scale 0.5 textcolor rgb ink
set grid ytics linetype 1 linewidth 0.6 linecolor rgb "#ebebeb"
set bars 0
unset key

# One scale for all panels, with room for the hosts' names above the curves.
low = 0; high = 0; last = 0
do for [kvm in kvms] {
	stats curve(kvm) using 1:2 nooutput
	if (STATS_min_y < low) { low = STATS_min_y }
	if (STATS_max_y > high) { high = STATS_max_y }
	if (STATS_max_x > last) { last = STATS_max_x }
}
span = high - low < 1 ? 1 : high - low
set yrange [low - 0.17 * span : high + 0.24 * span]
set xrange [0 : last * 1.01]
top = high + 0.17 * span
bottom = low - 0.07 * span

do for [kind in "png svg"] {
	if (kind eq "png") {
		set terminal pngcairo size 1400, 640 font "DejaVu Sans,12" background "#ffffff"
	} else {
		set terminal svg size 1400, 640 dynamic font "DejaVu Sans,16" background "#ffffff"
	}
	set output dir . "/clock." . kind
	set multiplot layout 1, words(kvms) margins 0.07, 0.985, 0.17, 0.79 spacing 0.05, 0 \
		title "A Linux guest under an unmodified QEMU, live-migrated from host A to host B and back" \
		font ",16" textcolor rgb ink offset 0, -0.7
	set label 1 at screen 0.985, 0.025 right textcolor rgb soft font ",10" \
		"Bars: what each reading of the guest's clock, bracketed by the physical machine's, allows. " . \
		"QEMU resumes the clock at the value it saved: what passes in between is lost on either."
	do for [i = 1:words(kvms)] {
		kvm = word(kvms, i)
		set title "{/:Bold=14 " . name(kvm) . "}\n{/=11 " . summary(kvm) . "}" textcolor rgb colour(kvm) offset 0, 0.3
		set xlabel "true time, by the physical machine's clock (s)" textcolor rgb ink
		if (i == 1) { set ylabel "guest's clock − true time (ms)" textcolor rgb ink offset 0.5, 0 }
		else { unset ylabel }
		x0 = 0
		do for [hop = 1:2] {
			begin = cell(kvm, hop, START); end = cell(kvm, hop, END); middle = (begin + end) / 2
			new = level(kvm, end); old = new - cell(kvm, hop, GAIN)
			set object hop rectangle from begin, graph 0 to end, graph 1 behind \
				fillcolor rgb band fillstyle solid border rgb band linewidth 3
			set label 10 + hop sprintf("on host %s", hop == 1 ? "A" : "B") at (x0 + begin) / 2, top center textcolor rgb soft
			set arrow hop from middle, old to middle, new filled size screen 0.007, 18 linewidth 1.6 linecolor rgb colour(kvm)
			set label 20 + hop sprintf("%+.0f ± %.0f ms", cell(kvm, hop, GAIN), cell(kvm, hop, BOUND)) \
				at begin - 0.015 * last, (old + new) / 2 right font ",13" textcolor rgb colour(kvm)
			set label 30 + hop sprintf("stopped\n%.0f ms", cell(kvm, hop, STOPPED)) at end + 0.008 * last, bottom left \
				font ",10" textcolor rgb "#8a6d1f"
			x0 = end
		}
		set label 13 "on host A" at (x0 + last) / 2, top center textcolor rgb soft
		plot curve(kvm) using 1:2:3:4 with yerrorbars pointtype 0 linewidth 1 linecolor rgb "#c8c8c8", \
		     curve(kvm) using 1:2 with lines linewidth 3 linecolor rgb colour(kvm)
		unset label 1
	}
	unset multiplot
	unset output
}
