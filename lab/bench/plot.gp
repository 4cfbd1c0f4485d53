# What the clock costs against the number of vCPUs, a picture for each group of cases.
#
#   gnuplot -e 'data = "out/bench/intel.tsv"; out = "out/bench"' lab/bench/plot.gp

ink = "#333333"
soft = "#777777"
colours = "#1f6fb4 #c2561a #4a8f3c #7b4fa3"

set encoding utf8
# Names have underscores, which are no subscripts.
set terminal pngcairo noenhanced size 1100,560 font "DejaVu Sans,11"
set border 3 linewidth 1 linecolor rgb soft
set tics nomirror out scale 0.5 textcolor rgb ink
set grid ytics linetype 1 linewidth 0.6 linecolor rgb "#ebebeb"
set key outside right top Left reverse textcolor rgb ink
set logscale xy
most = system(sprintf("awk -F'\t' '$3 > m { m = $3 } END { print m }' '%s'", data)) + 0
set xrange [0.8:most * 1.25]
set xtics (1, 8, 64, 512, 1024)
set format y "%.0s%c"
set xlabel "vCPUs" textcolor rgb ink
set ylabel "instructions" textcolor rgb ink

rows(kvm, name) = sprintf("< awk -F'\t' '$1 == \"%s\" && $2 == \"%s\" && $4 > 0 { print $3, $4 }' '%s'", kvm, name, data)

# Cases that were not measured are left out: gnuplot takes an empty file for an error.
kept(cases, kvm) = system(sprintf("for c in %s; do awk -F'\t' -v c=$c -v k=%s '$1 == k && $2 == c && $4 > 0 { print c; exit }' '%s'; done", \
	cases, kvm, data))

# What a case is, in words.
words_set_clock = "KVM_SET_CLOCK itself"
words_set_first = "first KVM_RUN after it, of the first vCPU"
words_set_other = "first KVM_RUN after it, of another vCPU"
words_set_all = "first KVM_RUN after it, of all together"
words_guest_tsc_adjust = "the guest writes TSC_ADJUST"
words_guest_tsc = "the guest writes its TSC"
words_set_msrs_tsc = "KVM_SET_MSRS of IA32_TSC on all"
words_tsc_offset_moved = "another KVM_VCPU_TSC_OFFSET on all"
words_run = "KVM_RUN, nothing pending"
words_get_clock = "KVM_GET_CLOCK"
words_create_vcpu = "KVM_CREATE_VCPU"
words_guest_system_time = "the guest enables kvmclock"
in_words(case) = value("words_" . case)

groups = "set tsc create"
title_set = "After a KVM_SET_CLOCK"
cases_set = "set_clock set_first set_other set_all"
title_tsc = "TSCs that move"
cases_tsc = "guest_tsc_adjust guest_tsc set_msrs_tsc tsc_offset_moved"
title_create = "Nothing happens; one vCPU more; kvmclock enabled"
cases_create = "run get_clock create_vcpu guest_system_time"

do for [group in groups] {
	cases = value("cases_" . group)
	ours = kept(cases, "ours")
	stock = kept(cases, "stock")
	if (words(ours) + words(stock) > 0) {
		set output out . "/" . group . ".png"
		set title value("title_" . group) . ": solid ours, dashed stock" textcolor rgb ink
		plot for [i = 1:words(ours)] rows("ours", word(ours, i)) with linespoints linewidth 2 pointtype 7 \
				linecolor rgb word(colours, i) title "ours: " . in_words(word(ours, i)), \
			for [i = 1:words(stock)] rows("stock", word(stock, i)) with linespoints linewidth 1.5 dashtype 2 \
				pointtype 6 linecolor rgb word(colours, i) title "stock: " . in_words(word(stock, i))
	}
}
